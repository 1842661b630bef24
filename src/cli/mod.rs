//! The command line: what can be asked, and what is printed.

use std::{fmt::Write, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    clock::heartbeat::{Heartbeat, Jump},
    key::tombstone::Tombstone,
    kms::admin::{Admin, Credentials},
};

/// A key management service that speaks the AWS KMS API in front of a PKCS#11 HSM.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can be asked to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Serve from a development directory with a SoftHSM2 token of its own, which is made if it is not there
    Dev(Dev),
    /// Serve
    Serve(Which),
    /// Be the worker process of an HSM; the service starts it
    #[command(hide = true)]
    HsmWorker {
        /// Write the log as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Look after the HSM
    #[command(subcommand)]
    Hsm(HsmVerb),
    /// Look after access keys
    #[command(subcommand)]
    AccessKey(AccessKeyVerb),
    /// Look after principals
    #[command(subcommand)]
    Principal(PrincipalVerb),
    /// Look at keys that were deleted
    #[command(subcommand)]
    DeletedKey(DeletedKeyVerb),
    /// Look after the clock, which deletions wait for
    #[command(subcommand)]
    Clock(ClockVerb),
}

/// Which deployment.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A development directory
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// How to serve for development.
#[derive(Args)]
pub struct Dev {
    /// The development directory
    #[arg(long, value_name = "DIR", default_value = "strongroom-data")]
    pub data: PathBuf,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8200")]
    pub listen: SocketAddr,
    /// The region that the printed lines name, and of seeded keys that name none
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub region: String,
    /// Principals and keys to make if they are not there (TOML or JSON)
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,
    /// The SoftHSM2 module
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
}

/// Verbs on the configuration.
#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Print the effective configuration; secrets are named by where they come from
    Check(Which),
}

/// Verbs on the HSM.
#[derive(Subcommand)]
pub enum HsmVerb {
    /// Make the wrapping key, if it is not there
    Init {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// Which HSM; without it, the first
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
        /// Make a key that no other HSM can ever be given
        #[arg(long)]
        sole: bool,
    },
    /// Bring the wrapping key to a further HSM, from one that has it
    Join {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// The HSM that is to get the key
        #[arg(long, value_name = "NAME")]
        member: String,
        /// The HSM that has the key; without it, the first other one
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// A file with the PIN of the security officer of the HSM that has the key
        #[arg(long, value_name = "FILE")]
        so_pin_file: PathBuf,
    },
    /// Let PINs that were refused be tried again
    RetryPin {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// Which HSM; without it, all
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
    },
    /// Try what the HSM can do, and print it
    Probe {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// Which HSM; without it, the first
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

/// Verbs on access keys.
#[derive(Subcommand)]
pub enum AccessKeyVerb {
    /// Make an access key and print its secret, this once
    Create {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// User name or ARN
        #[arg(long, value_name = "NAME")]
        principal: String,
    },
    /// List access keys
    List(Which),
    /// Stop an access key from signing, for good
    Disable {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// The access key id
        id: String,
    },
}

/// Verbs on principals.
#[derive(Subcommand)]
pub enum PrincipalVerb {
    /// Make a principal, which may do nothing until a policy allows it
    Create {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// User name or ARN
        #[arg(long)]
        name: String,
    },
    /// List principals and their identity policies
    List(Which),
    /// Give a principal an identity policy
    AttachPolicy {
        /// Which deployment
        #[command(flatten)]
        which: Which,
        /// User name or ARN
        #[arg(long)]
        name: String,
        /// The policy document (JSON); its file name without extension names the policy
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
    },
}

/// Verbs on keys that were deleted.
#[derive(Subcommand)]
pub enum DeletedKeyVerb {
    /// List deleted keys: when each was made and deleted, whether it is destroyed, what it was, and who had it deleted
    List(Which),
}

/// Deleted keys, a line each.
pub fn deleted_keys(tombstones: &[Tombstone]) -> String {
    let mut text = String::new();
    for Tombstone { arn, spec, usage, created, scheduled_by, deleted, destroyed, .. } in tombstones {
        let state = if destroyed.is_some() { "destroyed" } else { "left on the HSM" };
        let by = scheduled_by.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "{arn}  {created}  {deleted}  {state}  {spec} {usage}  {by}");
    }
    text
}

/// Verbs on the clock.
#[derive(Subcommand)]
pub enum ClockVerb {
    /// Print how long the deployment has run, and whether its clock has jumped
    Show(Which),
    /// Say that the date of this machine is right, after a jump that stopped deletions
    Confirm(Which),
}

/// How long the deployment has run, and whether its clock has jumped.
pub fn clock(heartbeat: Option<Heartbeat>) -> String {
    let Some(Heartbeat { began, last, running, jump }) = heartbeat else { return "it has not run yet\n".to_owned() };
    let seconds = running.ms() / 1000;
    let mut text = format!("it has run for {seconds} s since {began}, as of {last}\n");
    if let Some(Jump { from, to }) = jump {
        let _ = writeln!(text, "its clock has jumped from {from} to {to}: nothing is deleted, expires or rotates");
    }
    text
}

/// What confirming the clock has changed.
pub fn confirmed(jump: Option<Jump>) -> String {
    match jump {
        Some(Jump { from, to }) => {
            format!("the jump from {from} to {to} is confirmed: what is due is done again, within a minute\n")
        }
        None => "the clock was not in doubt\n".to_owned(),
    }
}

/// An access key, as lines for a shell.
pub fn credentials(made: &Credentials) -> String {
    let Credentials { access_key_id, secret } = made;
    format!("export AWS_ACCESS_KEY_ID={access_key_id}\nexport AWS_SECRET_ACCESS_KEY={}\n", secret.expose())
}

/// Access keys, a line each. No secrets.
pub fn access_keys(admin: &Admin) -> String {
    let mut text = String::new();
    for (id, principal, enabled, created) in admin.access_keys() {
        let state = if enabled { "enabled" } else { "disabled" };
        let _ = writeln!(text, "{id}  {state:8}  {created}  {principal}");
    }
    text
}

/// Principals, a line each, with the names of their policies.
pub fn principals(admin: &Admin) -> String {
    let mut text = String::new();
    for (principal, policies) in admin.principals() {
        let _ = writeln!(text, "{principal}  {}", policies.join(", "));
    }
    text
}
