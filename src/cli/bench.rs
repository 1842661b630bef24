//! The arguments of the verbs that measure.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::DeploymentArgs;

/// The longest time for which a step is measured: a signature is valid for five minutes.
const MAX_STEP: Duration = Duration::from_secs(240);

/// The most sessions, as many as `hsm.sessions` may say.
const MAX_SESSIONS: i64 = 400;

/// The arguments of `strongroom bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// The server [default: that of AWS_ENDPOINT_URL_KMS, then AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The region [default: that of AWS_REGION, then AWS_DEFAULT_REGION]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Certificates that the server's is to be signed by (PEM) [default: that of AWS_CA_BUNDLE, then the system's]
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
    /// The operations that are called, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "Encrypt,Decrypt,GenerateDataKey")]
    pub operations: Vec<BenchOperation>,
    /// The key, by id, ARN or alias. Without it keys are made, and scheduled for deletion when all is measured
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Bytes of a plaintext, of a message, or of what is random
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub bytes: u16,
    /// Connections, a step for each number
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1,2,4,8,16,32,64,128,256,512",
        value_parser = clap::value_parser!(u16).range(1..=512)
    )]
    pub connections: Vec<u16>,
    /// How it is measured and shown
    #[command(flatten)]
    pub output: BenchOutput,
}

/// The arguments of `strongroom hsm bench`.
#[derive(Args)]
pub struct HsmBenchArgs {
    /// Which deployment
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Which HSM; without it, the first
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
    /// The operations that it does, separated by commas [default: all that it can do]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub operations: Vec<HsmOperation>,
    /// Bytes of a plaintext, of a message, or of what is random
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub bytes: u16,
    /// Sessions, a step for each number; not more than the token allows
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1,2,4,8,16,32",
        value_parser = clap::value_parser!(u16).range(1..=MAX_SESSIONS)
    )]
    pub sessions: Vec<u16>,
    /// How it is measured and shown
    #[command(flatten)]
    pub output: BenchOutput,
}

/// The time of a step, and the form of the figures.
#[derive(Args)]
pub struct BenchOutput {
    /// Seconds for which each step is measured
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    pub seconds: Duration,
    /// Draw latency by load into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// An operation of the API that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "AWS's names")]
pub enum BenchOperation {
    Encrypt,
    Decrypt,
    GenerateDataKey,
    GenerateDataKeyPair,
    GenerateRandom,
    GenerateMac,
    VerifyMac,
    Sign,
    Verify,
    DescribeKey,
}

/// Something that an HSM can be measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HsmOperation {
    /// AES-256-GCM encryption
    AesEncrypt,
    /// AES-256-GCM decryption
    AesDecrypt,
    /// Random bytes
    Random,
    /// HMAC-SHA-256
    Hmac,
    /// ECDSA signature, P-256
    EcSign,
    /// RSA-2048 signature, PSS
    RsaSign,
    /// RSA-2048 decryption, OAEP with SHA-256
    RsaDecrypt,
    /// Generation of an AES-256 key, wrapped
    AesGenerate,
    /// Generation of a P-256 key pair, wrapped
    EcGenerate,
}

impl BenchOperation {
    /// AWS's name for it.
    pub fn name(self) -> String {
        name(&self)
    }
}

impl HsmOperation {
    /// Every one.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        name(&self)
    }
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let range = Duration::from_millis(10)..=MAX_STEP;
    seconds.filter(|seconds| range.contains(seconds)).ok_or_else(|| "it must be from 0.01 to 240".to_owned())
}
