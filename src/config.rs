//! Configuration: a TOML file, and environment variables `STRONGROOM__SECTION__FIELD` over it. Parsed once; unknown
//! fields are refused. No field turns authentication, authorization or audit off.

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
    hsm::{self, Isolation, PinSource, TokenSelector},
    key::custom_store::is_cluster_id,
    kms::{self, KeyStoreKind},
};
use environment::Variables;

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
    /// names, if it is named as regions are, which is for development.
    #[serde(default, deserialize_with = "names")]
    pub regions: Vec<String>,
    /// Where to listen.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// Whether to speak plain HTTP off loopback: only behind a proxy that does TLS on the same network. Plaintexts and
    /// data keys cross the network in clear otherwise.
    #[serde(default)]
    pub plain_http: bool,
    /// Origins whose pages may call from a browser, such as `https://console.example.com`; `*` is every origin. None: none.
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<Origin>,
    /// TLS, if wanted; without it, HTTP on loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The database.
    pub store: Store,
    /// The audit trail.
    pub audit: Audit,
    /// The HSM.
    pub hsm: Hsm,
    /// HSMs for custom key stores, whose users' passwords are brought by who makes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Cluster>,
    /// Who may be sent plaintexts instead of the caller.
    #[serde(default)]
    pub attestation: Attestation,
    /// What clients may take up.
    #[serde(default)]
    pub limits: Limits,
    /// What the log tells.
    #[serde(default)]
    pub log: Log,
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
    /// What the HSM is called in logs and metrics.
    #[serde(default = "defaults::name")]
    pub name: String,
    /// Further HSMs that hold the same wrapping key and share the work (see `strongroom hsm join`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Further>,
    /// Environment variables of its worker process: many modules find their configuration by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "errors::names")]
    pub environment: BTreeMap<String, String>,
    /// Whether the module runs in a `process` of its own, which may crash, hang or leak without harm to the service, or in
    /// the service's (`none`).
    #[serde(default)]
    pub isolation: Isolation,
    /// The PKCS#11 module (a shared library).
    pub module: PathBuf,
    /// What the module's C_Initialize gets as pReserved, as p11-kit's `x-init-reserved`: NSS is configured so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI: `pkcs11:token=LABEL;serial=SERIAL`. A slot number alone is refused: it changes.
    pub token: String,
    /// Where the user PIN comes from.
    #[serde(deserialize_with = "errors::pin")]
    pub pin: PinSource,
    /// How often an HSM that nobody calls is called all the same, in milliseconds; 0 is never. For HSMs and firewalls that
    /// end idle sessions, which otherwise costs the first call after a pause some time.
    #[serde(default)]
    pub keepalive_ms: u64,
    /// Memory by which the worker process of an HSM may grow before another takes its place, in MiB: modules leak.
    #[serde(default = "defaults::worker_growth_mib")]
    pub worker_growth_mib: u32,
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

/// A further HSM that holds the same wrapping key. What it does not say is as for the first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Further {
    /// What it is called.
    pub name: String,
    /// The PKCS#11 module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
    /// What the module's C_Initialize gets as pReserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI.
    pub token: String,
    /// Where the user PIN comes from.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "errors::optional_pin")]
    pub pin: Option<PinSource>,
    /// Environment variables of its worker process.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "errors::optional_names")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// An HSM for a custom key store. What it does not say is as for the service's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// CloudHsmClusterId: `cluster-` and 11 to 16 letters or digits from 2 to 7.
    pub id: String,
    /// What it has in common with other clusters that were restored from the same backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The PKCS#11 module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
    /// What the module's C_Initialize gets as pReserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_reserved: Option<String>,
    /// The token, as an RFC 7512 URI.
    pub token: String,
    /// Environment variables of its worker process.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "errors::optional_names")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// Who may be sent plaintexts instead of the caller (`Recipient`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attestation {
    /// PEM files with the root certificates that vouch for attestation documents. With none, every Recipient is refused.
    #[serde(deserialize_with = "names")]
    pub roots: Vec<PathBuf>,
}

impl Attestation {
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

/// What clients may take up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once, as far as the limit of open files allows. When all are taken, a newcomer is let in for the one
    /// that has been idle longest.
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

impl Default for Limits {
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

/// What the log tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is let through, in the words of `RUST_LOG`, which comes before it: a level, and others for modules.
    pub filter: String,
}

impl Default for Log {
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

    /// Listens elsewhere than configured.
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
        if self.limits.all_bodies_bytes < self.limits.body_bytes {
            return Err("limits.all_bodies_bytes: must be at least limits.body_bytes".to_owned());
        }
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name}: must be at least 1")),
            None => Ok(()),
        }
    }

    /// The effective configuration, as JSON. It holds no secret: a PIN is named by its place, and variables for modules by
    /// their names.
    pub fn effective(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string())
    }

    /// The HSMs, the first one first.
    ///
    /// # Errors
    /// If a token is not named as it should be.
    pub fn hsm_settings(&self) -> Result<Vec<hsm::Settings>, String> {
        let first = self.first_hsm()?;
        let further = self.hsm.further.iter().map(|further| Self::further_hsm("hsm.further", &first, further));
        let further: Vec<_> = further.collect::<Result<_, _>>()?;
        Ok(std::iter::once(first).chain(further).collect())
    }

    /// The HSMs for custom key stores.
    ///
    /// # Errors
    /// If a token is not named as it should be.
    pub fn cluster_settings(&self) -> Result<Vec<hsm::Cluster>, String> {
        let first = self.first_hsm()?;
        let cluster = |cluster: &Cluster| {
            let Cluster { id, backup, module, init_reserved, token, environment } = cluster.clone();
            let further =
                Further { name: id, module, init_reserved, token, pin: Some(PinSource::nowhere()), environment };
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

    fn further_hsm(place: &str, first: &hsm::Settings, further: &Further) -> Result<hsm::Settings, String> {
        let Further { name, module, init_reserved, token, pin, environment } = further.clone();
        let parsed = TokenSelector::parse_uri(&token);
        let (token, _) = parsed.map_err(|error| format!("{place}: {name}: token: {error}"))?;
        let first = first.clone();
        Ok(hsm::Settings {
            name,
            token,
            // What one module is told says nothing to another.
            init_reserved: init_reserved.or(first.init_reserved.filter(|_| module.is_none())),
            module: module.unwrap_or(first.module),
            pin: pin.unwrap_or(first.pin),
            environment: environment.unwrap_or(first.environment),
            ..first
        })
    }

    /// The service's part; reads the attestation roots.
    ///
    /// # Errors
    /// Which file of a root is wrong, and why.
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
