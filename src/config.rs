//! The configuration: a TOML file, and environment variables `STRONGROOM__SECTION__FIELD` that override it. It is parsed once, and
//! unknown fields are refused. No field turns authentication, authorization or audit off.

mod changes;
mod environment;
mod errors;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use config::{File, FileFormat};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use tracing_subscriber::EnvFilter;

pub(crate) use self::{environment::unread as unread_variables, errors::explain};
use crate::{
    api::Origin,
    arn::AccountId,
    attestation::Roots,
    hsm::{self, PinSource, TokenSelector},
    key::custom_store::is_cluster_id,
    kms::{self, KeyStoreKind},
};
use environment::Variables;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The account that owns the keys, 12 digits. Part of every ARN; fixed at the first start.
    pub account: AccountId,
    /// The partition of every ARN. Many clients accept none but `aws`.
    #[serde(default = "defaults::partition")]
    pub partition: String,
    /// The regions, each a key space of its own, named by the caller's credential scope. Empty: any region a caller
    /// names, if it is named as regions are, which is for development.
    #[serde(default, deserialize_with = "names")]
    pub regions: Vec<String>,
    /// The address to listen at.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// Allows plain HTTP off loopback. Only for a proxy on the same network that does TLS: plaintexts and data keys cross the network
    /// in clear otherwise.
    #[serde(default)]
    pub plain_http: bool,
    /// Origins whose pages may call from a browser, such as `https://console.example.com`; `*` is every origin. None: none.
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<Origin>,
    /// TLS, if wanted; without it, HTTP on loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// The database.
    pub store: StoreConfig,
    /// The audit trail.
    pub audit: AuditConfig,
    /// The HSM.
    pub hsm: HsmConfig,
    /// HSMs for custom key stores. The request that makes a key store brings the PIN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterConfig>,
    /// The attestation of recipients.
    #[serde(default)]
    pub attestation: AttestationConfig,
    /// The limits of clients.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
}

/// TLS 1.2 and 1.3.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The SQLite file; made at the first start. It holds the wrapped keys: without it they are lost.
    pub path: PathBuf,
    /// How old the view of the store may be, in milliseconds, before requests are answered with 503.
    #[serde(default = "defaults::staleness_ms")]
    pub staleness_ms: u64,
}

/// The audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The file that records are appended to, a line of JSON each. When it cannot be written, nothing is answered.
    pub path: PathBuf,
    /// Has each batch of records flushed to the disk before its answers leave. Records survive a power loss then; it costs a disk
    /// flush per batch.
    #[serde(default)]
    pub sync: bool,
}

/// The HSM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HsmConfig {
    /// The name of the HSM in logs and metrics.
    #[serde(default = "defaults::name")]
    pub name: String,
    /// Further HSMs that hold the same wrapping key and share the work (see `strongroom hsm join`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<FurtherHsmConfig>,
    /// Environment variables of its worker process: many modules find their configuration by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "errors::names")]
    pub environment: BTreeMap<String, String>,
    /// The PKCS#11 module (a shared library).
    pub module: PathBuf,
    /// The text that C_Initialize gets as pReserved, as p11-kit's `x-init-reserved`: NSS is configured by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI: `pkcs11:token=LABEL;serial=SERIAL`. A slot number alone is refused: it changes.
    pub token: String,
    /// The source of the user PIN.
    #[serde(deserialize_with = "errors::pin")]
    pub pin: PinSource,
    /// Interval of calls that keep an idle HSM's sessions open, in milliseconds; 0 for none. For HSMs and firewalls that end idle
    /// sessions, which costs the first call after a pause some time otherwise.
    #[serde(default)]
    pub keepalive_ms: u64,
    /// Memory by which the worker process of an HSM may grow before it is replaced, in MiB: modules leak.
    #[serde(default = "defaults::worker_growth_mib")]
    pub worker_growth_mib: u32,
    /// Sessions for commands. RSA gets faster up to the number of cores, or the HSM's own; SoftHSM2 is fastest at AES with few.
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
    /// How the material of new keys is kept: `wrapped` under the wrapping key in the database, or `token`, an object on the HSM each.
    #[serde(default = "defaults::keeping")]
    pub keeping: KeyStoreKind,
    /// CKA_LABEL of the wrapping key.
    #[serde(default = "defaults::wrapping_key_label")]
    pub wrapping_key_label: String,
    /// Allows RSAES_OAEP_SHA_256 to be un-padded on this host where the HSM, as SoftHSM2, has raw RSA only. Without this, such an HSM
    /// cannot hold RSA encryption keys.
    #[serde(default)]
    pub allow_raw_rsa: bool,
}

/// A further HSM that holds the same wrapping key. Fields that are missing have the values of the first HSM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurtherHsmConfig {
    /// The name of the HSM.
    pub name: String,
    /// The PKCS#11 module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
    /// The text that C_Initialize gets as pReserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI.
    pub token: String,
    /// The source of the user PIN.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "errors::optional_pin")]
    pub pin: Option<PinSource>,
    /// Environment variables of its worker process.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "errors::optional_names")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// An HSM for a custom key store. Fields that are missing have the values of the service's own HSM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// CloudHsmClusterId: `cluster-` and 11 to 16 letters or digits from 2 to 7.
    pub id: String,
    /// A name that all clusters share that were restored from the same backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The PKCS#11 module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
    /// The text that C_Initialize gets as pReserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI.
    pub token: String,
    /// Environment variables of its worker process.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "errors::optional_names")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// The attestation of recipients, which get plaintexts instead of the caller (`Recipient`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestationConfig {
    /// PEM files with the trusted root certificates of attestation documents. With none, every Recipient is refused.
    #[serde(deserialize_with = "names")]
    pub roots: Vec<PathBuf>,
}

impl AttestationConfig {
    fn read_roots(&self) -> Result<Roots, String> {
        let mut roots = Roots::default();
        for path in &self.roots {
            let wrong = |error: String| format!("attestation.roots: {}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            roots.trust_pem(&pem).map_err(wrong)?;
        }
        Ok(roots)
    }
}

/// The resources that clients may use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at once, as far as the limit of open files allows. At the limit, the one that has been idle longest is closed for a
    /// newcomer.
    pub connections: usize,
    /// Longest request body, in bytes.
    pub body_bytes: usize,
    /// Memory for the bodies of all requests together, in bytes, without those of up to 16 KiB. One address may take a
    /// quarter of it.
    pub all_bodies_bytes: usize,
    /// Time for a request's headers, and for which a connection may be idle, in milliseconds.
    pub header_timeout_ms: u64,
    /// Time for a request's body, and for which a client may leave an answer unread, in milliseconds.
    pub body_timeout_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 8192,
            body_bytes: 1024 * 1024,
            all_bodies_bytes: 64 * 1024 * 1024,
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
        }
    }
}

/// The log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The filter, in the syntax of `RUST_LOG`, which overrides it: a level, and levels of modules.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned() }
    }
}

/// A list of names; from the environment, one text with commas.
fn names<'de, D: Deserializer<'de>, T: TryFrom<String, Error: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        Text(String),
        List(Vec<String>),
    }
    let names = match Names::deserialize(deserializer)? {
        Names::Text(text) => {
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        Names::List(names) => names,
    };
    names.into_iter().map(|name| T::try_from(name).map_err(D::Error::custom)).collect()
}

mod defaults {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::kms::KeyStoreKind;

    pub(super) fn name() -> String {
        "hsm".to_owned()
    }
    pub(super) fn partition() -> String {
        "aws".to_owned()
    }
    pub(super) fn listen() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 8200))
    }
    pub(super) fn staleness_ms() -> u64 {
        2_000
    }
    pub(super) fn worker_growth_mib() -> u32 {
        256
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
    /// If it is not valid; the text is for an operator.
    pub fn read(path: &std::path::Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads configuration text and the environment.
    ///
    /// # Errors
    /// If it is not valid; the text is for an operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let variables = environment::variables()?;
        let parse = |variables| Self::parse_with(text, variables);
        parse(variables.clone()).map_err(|error| environment::blame(&variables, error, parse))
    }

    fn parse_with(text: &str, variables: Variables) -> Result<Self, String> {
        let source = config::Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .add_source(environment::source(variables))
            .build()
            .map_err(|error| explain(&error))?;
        let config: Self = source.try_deserialize().map_err(|error| explain(&error))?;
        config.check()?;
        Ok(config)
    }

    /// Sets another address to listen at.
    ///
    /// # Errors
    /// If plain HTTP may not be spoken there.
    pub fn listen_on(&mut self, address: SocketAddr) -> Result<(), String> {
        self.listen = address;
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let clusters = self.cluster_settings()?;
        if let Some(wrong) = clusters.iter().find(|cluster| !is_cluster_id(&cluster.settings.name)) {
            return Err(format!("clusters: `{}` is not cluster-[2-7a-zA-Z]{{11,16}}", wrong.settings.name));
        }
        let clusters = clusters.into_iter().map(|cluster| cluster.settings);
        let names: Vec<_> = self.hsm_settings()?.into_iter().chain(clusters).map(|hsm| hsm.name).collect();
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        if !names.iter().all(is_name) || names.iter().collect::<BTreeSet<_>>().len() != names.len() {
            return Err("hsm: each HSM needs a name of its own, without spaces".to_owned());
        }
        if self.tls.as_ref().is_some_and(|tls| !errors::is_path(&tls.certificate) || !errors::is_path(&tls.key)) {
            return Err("tls: certificate and key are the paths of files".to_owned());
        }
        if let Err(error) = EnvFilter::try_new(&self.log.filter) {
            return Err(format!("log.filter: {error}"));
        }
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
        if self.hsm.sessions > hsm::MAX_SESSIONS {
            return Err(format!("hsm.sessions: must be at most {}", hsm::MAX_SESSIONS));
        }
        if self.limits.all_bodies_bytes < self.limits.body_bytes {
            return Err("limits.all_bodies_bytes: must be at least limits.body_bytes".to_owned());
        }
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name}: must be at least 1")),
            None => Ok(()),
        }
    }

    /// The effective configuration, as JSON. It holds no secret: of a PIN it has the source, and of variables for modules the names.
    pub fn effective(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string())
    }

    /// The HSMs, the first one first.
    ///
    /// # Errors
    /// If the URI of a token is not valid.
    pub fn hsm_settings(&self) -> Result<Vec<hsm::Settings>, String> {
        let first = self.first_hsm()?;
        let further = self.hsm.further.iter().map(|further| Self::further_hsm("hsm.further", &first, further));
        let further: Vec<_> = further.collect::<Result<_, _>>()?;
        Ok(std::iter::once(first).chain(further).collect())
    }

    /// The HSMs for custom key stores.
    ///
    /// # Errors
    /// If the URI of a token is not valid.
    pub fn cluster_settings(&self) -> Result<Vec<hsm::Cluster>, String> {
        let first = self.first_hsm()?;
        let cluster = |cluster: &ClusterConfig| {
            let ClusterConfig { id, backup, module, init_reserved, token, environment } = cluster.clone();
            let further = FurtherHsmConfig {
                name: id,
                module,
                init_reserved,
                token,
                pin: Some(PinSource::nowhere()),
                environment,
            };
            let settings = Self::further_hsm("clusters", &first, &further)?;
            Ok(hsm::Cluster { settings: hsm::Settings { holds_wrapping_key: false, ..settings }, backup })
        };
        self.clusters.iter().map(cluster).collect()
    }

    fn first_hsm(&self) -> Result<hsm::Settings, String> {
        let hsm = &self.hsm;
        let (token, _) = TokenSelector::parse_uri(&hsm.token).map_err(|error| format!("hsm.token: {error}"))?;
        Ok(hsm::Settings {
            name: hsm.name.clone(),
            module: hsm.module.clone(),
            init_reserved: hsm.init_reserved.clone(),
            token,
            pin: hsm.pin.clone(),
            held_pin: None,
            ledger: self.store.path.with_extension("hsm-logins"),
            environment: hsm.environment.clone(),
            keepalive_ms: hsm.keepalive_ms,
            growth_bytes: u64::from(hsm.worker_growth_mib) << 20,
            sessions: hsm.sessions,
            queue: hsm.queue,
            cached_handles: hsm.cached_handles,
            holds_wrapping_key: true,
            wrapping_key_label: hsm.wrapping_key_label.clone(),
            allow_raw_rsa: hsm.allow_raw_rsa,
        })
    }

    fn further_hsm(place: &str, first: &hsm::Settings, further: &FurtherHsmConfig) -> Result<hsm::Settings, String> {
        let FurtherHsmConfig { name, module, init_reserved, token, pin, environment } = further.clone();
        let parsed = TokenSelector::parse_uri(&token);
        let (token, _) = parsed.map_err(|error| format!("{place}: {name}: token: {error}"))?;
        let first = first.clone();
        Ok(hsm::Settings {
            name,
            token,
            // It is meant for the first HSM's module, and no other.
            init_reserved: init_reserved.or(first.init_reserved.filter(|_| module.is_none())),
            module: module.unwrap_or(first.module),
            pin: pin.unwrap_or(first.pin),
            environment: environment.unwrap_or(first.environment),
            ..first
        })
    }

    /// The settings of the service, with the attestation roots read from their files.
    ///
    /// # Errors
    /// If a file of a root cannot be used; the text names it.
    pub fn kms_settings(&self) -> Result<kms::Settings, String> {
        Ok(kms::Settings {
            partition: self.partition.clone(),
            account: self.account.clone(),
            regions: (!self.regions.is_empty()).then(|| self.regions.clone()),
            deadline: Duration::from_millis(self.hsm.deadline_ms),
            generation_deadline: Duration::from_millis(self.hsm.generation_deadline_ms),
            staleness: Duration::from_millis(self.store.staleness_ms),
            keeping: self.hsm.keeping,
            attestation_roots: Arc::new(self.attestation.read_roots()?),
        })
    }
}
