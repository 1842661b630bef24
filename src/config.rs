//! Configuration: a TOML file, and environment variables `STRONGROOM__SECTION__FIELD` over it. Parsed once; unknown
//! fields are refused. No field turns authentication, authorization or audit off.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use config::{Environment, File, FileFormat};
use serde::{Deserialize, Serialize};

use crate::{
    arn::AccountId,
    hsm::{self, TokenSelector},
    kms::{self, KeyStoreKind},
    secret::SecretText,
};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The account that owns the keys, 12 digits. Part of every ARN; fixed at the first start.
    pub account: AccountId,
    /// The partition of every ARN. Many clients accept none but `aws`.
    #[serde(default = "defaults::partition")]
    pub partition: String,
    /// The regions, each a key space of its own, named by the caller's credential scope. Empty: any region a caller
    /// names, which is for development.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Where to listen.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// Whether to speak plain HTTP off loopback: only behind a proxy that does TLS on the same network. Plaintexts and
    /// data keys cross the network in clear otherwise.
    #[serde(default)]
    pub plain_http: bool,
    /// TLS, if wanted; without it, HTTP on loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The database.
    pub store: Store,
    /// The audit trail.
    pub audit: Audit,
    /// The HSM.
    pub hsm: Hsm,
    /// What clients may take up.
    #[serde(default)]
    pub limits: Limits,
}

/// TLS 1.2 and 1.3.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The SQLite file; made at the first start. It holds the wrapped keys: without it they are lost.
    pub path: PathBuf,
    /// How old the view of the store may be, in milliseconds, before requests are answered with 503.
    #[serde(default = "defaults::staleness_ms")]
    pub staleness_ms: u64,
}

/// The audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file that records are appended to, a line of JSON each. When it cannot be written, nothing is answered.
    pub path: PathBuf,
    /// Whether each batch of records is flushed to the disk before its answers leave. Survives power loss; costs a disk
    /// flush per batch.
    #[serde(default)]
    pub sync: bool,
}

/// The HSM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsm {
    /// The PKCS#11 module (a shared library).
    pub module: PathBuf,
    /// The token, as an RFC 7512 URI: `pkcs11:token=LABEL;serial=SERIAL`. A slot number alone is refused: it changes.
    pub token: String,
    /// Where the user PIN comes from.
    pub pin: Pin,
    /// Sessions that do commands. More help RSA up to the number of cores or the HSM's own; SoftHSM2 is fastest at AES
    /// with few.
    #[serde(default = "defaults::sessions")]
    pub sessions: usize,
    /// Commands that may wait for a session; one more is answered `ThrottlingException`.
    #[serde(default = "defaults::queue")]
    pub queue: usize,
    /// How long a request may wait for the HSM, in milliseconds; then `DependencyTimeoutException`.
    #[serde(default = "defaults::deadline_ms")]
    pub deadline_ms: u64,
    /// The same for the generation of a key, which takes seconds for RSA_4096.
    #[serde(default = "defaults::generation_deadline_ms")]
    pub generation_deadline_ms: u64,
    /// Key handles kept in the HSM between uses. Each takes memory of the HSM.
    #[serde(default = "defaults::cached_handles")]
    pub cached_handles: usize,
    /// Where the material of new keys is kept: `wrapped` in the database under the wrapping key, or `token`, an object
    /// on the HSM each.
    #[serde(default = "defaults::keeping")]
    pub keeping: KeyStoreKind,
    /// CKA_LABEL of the wrapping key.
    #[serde(default = "defaults::wrapping_key_label")]
    pub wrapping_key_label: String,
    /// Whether RSAES_OAEP_SHA_256 may be un-padded on this host where the HSM does raw RSA only, as SoftHSM2. Without
    /// it such an HSM cannot hold RSA encryption keys.
    #[serde(default)]
    pub allow_raw_rsa: bool,
}

/// Where the user PIN comes from; never from the command line, which every user of the host can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Pin {
    /// A file that holds it, and nothing else but a final newline.
    File(PathBuf),
    /// A file descriptor that the starting process left open.
    Fd(u32),
    /// A systemd credential of that name (`LoadCredential=`).
    Credential(String),
    /// An environment variable. The last resort: a process's environment can be read by its user.
    Environment(String),
}

/// What clients may take up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Longest request body, in bytes.
    pub body_bytes: usize,
    /// Time for a request's headers, and for which a connection may be idle, in milliseconds.
    pub header_timeout_ms: u64,
    /// Time for a request's body, in milliseconds.
    pub body_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, body_bytes: 1024 * 1024, header_timeout_ms: 10_000, body_timeout_ms: 10_000 }
    }
}

mod defaults {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::kms::KeyStoreKind;

    pub(super) fn partition() -> String {
        "aws".to_owned()
    }
    pub(super) fn listen() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 8200))
    }
    pub(super) fn staleness_ms() -> u64 {
        2_000
    }
    pub(super) fn sessions() -> usize {
        4
    }
    pub(super) fn queue() -> usize {
        1024
    }
    pub(super) fn deadline_ms() -> u64 {
        5_000
    }
    pub(super) fn generation_deadline_ms() -> u64 {
        60_000
    }
    pub(super) fn cached_handles() -> usize {
        1_000
    }
    pub(super) fn keeping() -> KeyStoreKind {
        KeyStoreKind::Wrapped
    }
    pub(super) fn wrapping_key_label() -> String {
        "strongroom wrapping key".to_owned()
    }
}

impl Config {
    /// Reads the file at `path` and the environment.
    ///
    /// # Errors
    /// What is wrong with it, in words for an operator.
    pub fn read(path: &std::path::Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads configuration text and the environment.
    ///
    /// # Errors
    /// What is wrong with it, in words for an operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let environment = Environment::with_prefix("STRONGROOM").prefix_separator("__").separator("__");
        let environment = environment.try_parsing(true).list_separator(",").with_list_parse_key("regions");
        let source = config::Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .add_source(environment)
            .build()
            .map_err(|error| error.to_string())?;
        let config: Self = source.try_deserialize().map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        TokenSelector::parse_uri(&self.hsm.token).map_err(|error| format!("hsm.token: {error}"))?;
        if !self.listen.ip().is_loopback() && self.tls.is_none() && !self.plain_http {
            return Err(
                "listen: plain HTTP off loopback needs `tls`, or `plain_http = true` behind a proxy that does \
                        TLS"
                .to_owned(),
            );
        }
        let at_least_one = [
            ("hsm.sessions", self.hsm.sessions),
            ("hsm.queue", self.hsm.queue),
            ("hsm.cached_handles", self.hsm.cached_handles),
            ("limits.connections", self.limits.connections),
        ];
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name}: must be at least 1")),
            None => Ok(()),
        }
    }

    /// The effective configuration, as JSON. It holds no secret: a PIN is named by its place.
    pub fn effective(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string())
    }

    /// The HSM's part, with the PIN.
    ///
    /// # Errors
    /// If the PIN cannot be read; the text names the place, not the PIN.
    pub fn hsm_settings(&self) -> Result<hsm::Settings, String> {
        let hsm = &self.hsm;
        let (token, _) = TokenSelector::parse_uri(&hsm.token).map_err(|error| format!("hsm.token: {error}"))?;
        Ok(hsm::Settings {
            module: hsm.module.clone(),
            token,
            pin: hsm.pin.read()?,
            sessions: hsm.sessions,
            queue: hsm.queue,
            cached_handles: hsm.cached_handles,
            wrapping_key_label: hsm.wrapping_key_label.clone(),
            allow_raw_rsa: hsm.allow_raw_rsa,
        })
    }

    /// The service's part.
    pub fn kms_settings(&self) -> kms::Settings {
        kms::Settings {
            partition: self.partition.clone(),
            account: self.account.clone(),
            regions: (!self.regions.is_empty()).then(|| self.regions.clone()),
            deadline: Duration::from_millis(self.hsm.deadline_ms),
            generation_deadline: Duration::from_millis(self.hsm.generation_deadline_ms),
            staleness: Duration::from_millis(self.store.staleness_ms),
            keeping: self.hsm.keeping,
        }
    }
}

impl Pin {
    fn read(&self) -> Result<SecretText, String> {
        let file = |path: PathBuf| {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("hsm.pin: {}: {error}", path.display()))?;
            Ok(SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned()))
        };
        let pin = match self {
            Self::File(path) => file(path.clone()),
            Self::Fd(fd) => file(PathBuf::from(format!("/dev/fd/{fd}"))),
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(
                    "hsm.pin: CREDENTIALS_DIRECTORY is not set; is this a systemd service with LoadCredential=?",
                )?;
                file(PathBuf::from(directory).join(name))
            }
            Self::Environment(name) => std::env::var(name)
                .map(SecretText::from)
                .map_err(|_| format!("hsm.pin: the environment variable {name} is not set")),
        }?;
        if pin.expose().is_empty() { Err("hsm.pin: the PIN is empty".to_owned()) } else { Ok(pin) }
    }
}
