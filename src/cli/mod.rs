//! The command line: verbs with their arguments, and their output.

pub mod bench;
pub mod manual;
pub mod output;
pub(crate) mod table;
mod verbs;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use self::bench::BenchArgs;
pub use self::verbs::{AccessKeyVerb, ClockVerb, ConfigVerb, DeletedKeyVerb, HsmVerb, PrincipalVerb};

/// The variable that names the configuration file where no argument does.
pub const CONFIG_VARIABLE: &str = "STRONGROOM_CONFIG";
/// The configuration file where nothing names another.
pub const CONFIG_FILE: &str = "/etc/strongroom/strongroom.toml";

/// A key management service that speaks the AWS KMS API in front of a PKCS#11 HSM.
#[derive(Parser)]
#[command(
    version = env!("STRONGROOM_VERSION"),
    about,
    after_help = "The configuration is the file that --config names, or the variable STRONGROOM_CONFIG, or \
                  /etc/strongroom/strongroom.toml.\n\nExample:\n  strongroom dev"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can be asked to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Serve for development, from a directory with a SoftHSM2 token of its own, which is made if it is not there
    #[command(after_help = "Example:\n  strongroom dev --data strongroom-data --listen 127.0.0.1:8200")]
    Dev(DevArgs),
    /// Serve the API, as the configuration says, until SIGTERM
    #[command(after_help = "Example:\n  strongroom serve --config /etc/strongroom/strongroom.toml")]
    Serve(DeploymentArgs),
    /// Measure a server that runs: throughput and latency by connections, with requests that are signed
    #[command(after_help = "Example:\n  strongroom bench --operations Encrypt,Sign --plot latency.svg")]
    Bench(BenchArgs),
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
    /// Print what completes this command line in a shell
    #[command(after_help = "Example:\n  strongroom completion bash")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the manual, a page for each command, into a directory
    #[command(after_help = "Example:\n  strongroom man /usr/local/share/man/man1")]
    Man {
        /// The directory, which must be there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Which deployment. Without either, the configuration file is the one that STRONGROOM_CONFIG names, or that in /etc/strongroom.
#[derive(Args)]
#[group(multiple = false)]
pub struct DeploymentArgs {
    /// The configuration file [default: that of STRONGROOM_CONFIG, then /etc/strongroom/strongroom.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A development directory
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What is listed, and how.
#[derive(Args)]
pub struct ListArgs {
    /// Which deployment
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// How to serve for development.
#[derive(Args)]
pub struct DevArgs {
    /// The development directory
    #[arg(long, value_name = "DIR", default_value = "strongroom-data")]
    pub data: PathBuf,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8200")]
    pub listen: SocketAddr,
    /// The region that the printed lines name, and of seeded keys that name none
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub region: String,
    /// Principals and keys to make if they are not there (TOML, JSON or YAML)
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,
    /// The SoftHSM2 module
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
}
