//! The verbs on each thing that an operator manages.

use std::path::PathBuf;

use clap::Subcommand;

use super::{DeploymentArgs, ListArgs, bench::HsmBenchArgs};

/// Verbs on the configuration.
#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Print the effective configuration without secrets, and what is wrong with the files that it names, as the user who asks
    #[command(after_help = "Example:\n  strongroom config check --config /etc/strongroom/strongroom.toml")]
    Check(DeploymentArgs),
}

/// Verbs on the HSM.
#[derive(Subcommand)]
pub enum HsmVerb {
    /// Make the wrapping key, if it is not there
    #[command(after_help = "Example:\n  strongroom hsm init")]
    Init {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// Which HSM; without it, the first
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
        /// Make a key that no other HSM can ever be given
        #[arg(long)]
        sole: bool,
    },
    /// Bring the wrapping key to a further HSM, from one that has it
    #[command(after_help = "Example:\n  strongroom hsm join --member second --so-pin-file so-pin")]
    Join {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
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
    /// Let PINs that were refused be tried again, once
    #[command(after_help = "Example:\n  strongroom hsm retry-pin --member second")]
    RetryPin {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// Which HSM; without it, all
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
    },
    /// Try what the HSM can do, and print it
    #[command(after_help = "Example:\n  strongroom hsm probe --json")]
    Probe {
        /// Which HSM; without it, the first
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
        /// Which deployment, and how it is printed
        #[command(flatten)]
        list: ListArgs,
    },
    /// Measure how much the HSM does by itself, and with how many sessions
    #[command(after_help = "Example:\n  strongroom hsm bench --plot hsm.svg")]
    Bench(HsmBenchArgs),
}

/// Verbs on access keys.
#[derive(Subcommand)]
pub enum AccessKeyVerb {
    /// Make an access key for a principal, and print its secret, this once
    #[command(after_help = "Example:\n  strongroom access-key create --principal app")]
    Create {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// User name or ARN
        #[arg(long, value_name = "NAME")]
        principal: String,
    },
    /// List access keys: whose each is, whether it may sign, when it was made, and the last day on which it signed (UTC)
    #[command(after_help = "Example:\n  strongroom access-key list --json")]
    List(ListArgs),
    /// Stop an access key from signing, for good
    #[command(after_help = "Example:\n  strongroom access-key disable AKIAEXAMPLEAPP000001")]
    Disable {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// The access key id
        id: String,
    },
    /// Delete an access key, enabled or not
    #[command(after_help = "Example:\n  strongroom access-key delete AKIAEXAMPLEAPP000001")]
    Delete {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// The access key id
        id: String,
    },
}

/// Verbs on principals.
#[derive(Subcommand)]
pub enum PrincipalVerb {
    /// Make a principal, which may do nothing until a policy allows it
    #[command(after_help = "Example:\n  strongroom principal create --name app")]
    Create {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// User name or ARN
        #[arg(long)]
        name: String,
    },
    /// List principals: when each was made, its access keys and identity policies
    #[command(after_help = "Example:\n  strongroom principal list --json")]
    List(ListArgs),
    /// Show a principal with its access keys and the text of its identity policies
    #[command(after_help = "Example:\n  strongroom principal show --name app")]
    Show {
        /// User name or ARN
        #[arg(long)]
        name: String,
        /// Which deployment, and how it is printed
        #[command(flatten)]
        list: ListArgs,
    },
    /// Give a principal an identity policy, in the place of the one of that name if there is one
    #[command(after_help = "Example:\n  strongroom principal attach-policy --name app --policy use-keys.json")]
    AttachPolicy {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// User name or ARN
        #[arg(long)]
        name: String,
        /// The policy document (JSON); its file name without extension names the policy
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
    },
    /// Take an identity policy from a principal
    #[command(after_help = "Example:\n  strongroom principal detach-policy --name app --policy use-keys")]
    DetachPolicy {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// User name or ARN
        #[arg(long)]
        name: String,
        /// The name of the policy, as `principal list` shows it
        #[arg(long, value_name = "NAME")]
        policy: String,
    },
    /// Delete a principal with its identity policies, once it has no access keys any more
    #[command(after_help = "Example:\n  strongroom principal delete --name app")]
    Delete {
        /// Which deployment
        #[command(flatten)]
        deployment: DeploymentArgs,
        /// User name or ARN
        #[arg(long)]
        name: String,
    },
}

/// Verbs on keys that were deleted.
#[derive(Subcommand)]
pub enum DeletedKeyVerb {
    /// List deleted keys: when each was made and deleted, whether it is destroyed, what it was, and who had it deleted
    #[command(after_help = "Example:\n  strongroom deleted-key list")]
    List(ListArgs),
}

/// Verbs on the clock.
#[derive(Subcommand)]
pub enum ClockVerb {
    /// Print how long the deployment has run, and whether its clock has jumped
    #[command(after_help = "Example:\n  strongroom clock show")]
    Show(DeploymentArgs),
    /// Say that the date of this machine is right, after a jump that stopped deletions
    #[command(after_help = "Example:\n  date && strongroom clock confirm")]
    Confirm(DeploymentArgs),
}
