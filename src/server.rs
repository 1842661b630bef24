//! Puts the service together and serves it: machines → service → doors → connections.

mod certificate;
mod connections;
pub mod descriptors;
mod entrance;
mod framed;
mod guests;
mod head;
pub mod inspection;
pub mod operator;
mod patient;
mod person;
mod reload;
mod spelling;
mod supervisor;
mod tally;

use std::{error::Error, io, num::NonZero, os::unix::process::CommandExt, sync::Arc, time::Duration};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};

use self::{
    certificate::Presented, connections::Connections, guests::Guests, reload::Reloads, spelling::Spelling, tally::Tally,
};
pub use self::{
    entrance::Entrance,
    reload::{FilterLog, Source},
    supervisor::Supervisor,
};
use crate::{
    api,
    audit::{Trail, TrailAddress},
    authn::Vault,
    call::Calls,
    clock::{Clock, SystemClock},
    config::Config,
    error::{Code, with_causes},
    health,
    hsm::{self, Clusters, HeldPin, Hsm, HsmError, Isolation, Kind, Launch, PinSource},
    kms::{
        Kms, Machines,
        admin::{self, Admin, Operator},
    },
    store::Store,
    tasks,
};

/// How long a stop waits for requests that are under way.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a start waits for an HSM before it goes on without.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// How long those wait for an HSM who cannot go on without.
const HSM_START: Duration = Duration::from_secs(60);
/// How long a stop waits for the HSM's threads or worker processes.
const HSM_STOP: Duration = Duration::from_secs(4);
/// Exit code when the HSM refuses the PIN: starting again would try it again, and a token locks after a few times.
pub const EXIT_PIN_REFUSED: u8 = 78;

/// Why the program ends, for an operator, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub text: String,
    /// The exit code.
    pub exit: u8,
}

impl Failure {
    /// A failure with the ordinary exit code, and all that was behind it.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { text: with_causes(&*error.into()), exit: 1 }
    }
}

impl From<HsmError> for Failure {
    fn from(error: HsmError) -> Self {
        let exit = if error.kind == Kind::PinRefused { EXIT_PIN_REFUSED } else { 1 };
        Self { text: format!("the HSM: {error}"), exit }
    }
}

/// The service, with what an operator's verbs need beside it.
pub struct Service {
    /// The service itself.
    pub kms: Arc<Kms>,
    /// The operator's verbs.
    pub admin: Admin,
    /// Seals the secrets of access keys.
    pub vault: Vault,
    hsm: Hsm,
}

/// The runtime that the doors live in: as many threads as half of the cores, for the other half are busy with what the
/// HSM's module does. More threads than that wake each other up for nothing. `TOKIO_WORKER_THREADS` says otherwise.
///
/// # Errors
/// If no threads can be started.
pub fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads(cores.div_ceil(2));
    }
    builder.enable_all().build().map_err(Failure::new)
}

/// Opens the store and the HSMs, puts the service together and begins its background work. HSMs that cannot be opened now
/// are opened when they can be; until then the service says that it is not ready.
///
/// # Errors
/// What is missing or wrong, for an operator.
pub async fn open(config: &Config, launch: Launch) -> Result<Service, Failure> {
    if config.hsm.isolation == Isolation::None {
        take_environment(&all_hsms(config)?)?;
    }
    let settings = config.kms_settings().map_err(Failure::new)?;
    let store = open_store(config).await?;
    let trail = Trail::open(&config.audit.path, config.audit.sync);
    let trail = trail.map_err(|error| Failure::new(format!("{}: {error}", config.audit.path.display())))?;
    let launch = (config.hsm.isolation == Isolation::Process).then_some(launch);
    let hsm = Hsm::open(members(config)?, launch.clone());
    let clusters = Clusters::new(config.cluster_settings().map_err(Failure::new)?, launch);
    let vault = Vault::new(hsm.clone());
    admin::furnish(&store, &vault, &config.account).await.map_err(Failure::new)?;
    let admin = admin(config, store.clone())?;
    let machines = Machines { store, hsm: hsm.clone(), clusters, trail, clock: Arc::new(SystemClock) };
    let kms = Arc::new(Kms::new(settings, machines, vault.clone()));
    if hsm.opened(FIRST_WORD).await.is_ok() {
        // An HSM that falters now is asked again in the background.
        match kms.found().await {
            Err(error) if error.code != Code::DependencyTimeoutException => return Err(Failure::new(error)),
            founded => drop(founded),
        }
    }
    // The HSM may have taken its time: what was read of the store before it is not news any more.
    kms.follow_store().await.map_err(Failure::new)?;
    // What a process before has changed comes to the trail before anything new.
    kms.deliver_records().await.map_err(Failure::new)?;
    tasks::start(&kms);
    Ok(Service { kms, admin, vault, hsm })
}

impl Service {
    /// Insists that an HSM is open, or says why none is.
    ///
    /// # Errors
    /// Why none is.
    pub async fn insist_on_hsm(&self) -> Result<(), Failure> {
        Ok(self.hsm.opened(HSM_START).await?)
    }
}

/// The service's own HSMs, and those for custom key stores.
fn all_hsms(config: &Config) -> Result<Vec<hsm::Settings>, Failure> {
    let clusters = config.cluster_settings().map_err(Failure::new)?.into_iter().map(|cluster| cluster.settings);
    Ok(config.hsm_settings().map_err(Failure::new)?.into_iter().chain(clusters).collect())
}

/// Gives this process the environment of the HSMs, whose modules will be in it. A process of several threads cannot change its
/// own safely, so the program starts itself again.
fn take_environment(members: &[hsm::Settings]) -> Result<(), Failure> {
    let wanted = || members.iter().flat_map(|hsm| &hsm.environment);
    if wanted().all(|(name, value)| std::env::var_os(name).is_some_and(|is| is == value.as_str())) {
        return Ok(());
    }
    if wanted().any(|(name, value)| wanted().any(|(other, another)| name == other && value != another)) {
        return Err(Failure::new("hsm.isolation: HSMs with different environments need processes of their own"));
    }
    let arguments = std::env::args_os().skip(1);
    Err(Failure::new(std::process::Command::new("/proc/self/exe").args(arguments).envs(wanted()).exec()))
}

/// Members may share a pipe, of which only the first would get the PIN.
fn with_rereadable_pins(members: Vec<hsm::Settings>) -> io::Result<Vec<hsm::Settings>> {
    let mut known: Vec<(PinSource, Option<HeldPin>)> = Vec::new();
    let reread = members.into_iter().map(|settings| {
        let held_pin = match known.iter().find(|(from, _)| *from == settings.pin) {
            Some((_, held)) => held.clone(),
            None => HeldPin::of_pipe(&settings.pin)?,
        };
        known.push((settings.pin.clone(), held_pin.clone()));
        Ok(hsm::Settings { held_pin, ..settings })
    });
    reread.collect()
}

/// Opens the store.
///
/// # Errors
/// If it cannot be read, is of a version that this program does not know, or would be made by root for somebody else.
pub async fn open_store(config: &Config) -> Result<Store, Failure> {
    if let Some(directory) = config.store.path.parent().filter(|_| !config.store.path.exists()) {
        person::refuse_to_make_for_another(directory)?;
    }
    Store::open(&config.store.path).await.map_err(Failure::new)
}

/// The HSMs that are configured, once nobody listens who writes down PINs. Asked for once in a process: what comes through a
/// pipe comes once.
fn members(config: &Config) -> Result<Vec<hsm::Settings>, Failure> {
    let members = config.hsm_settings().map_err(Failure::new)?;
    let all = all_hsms(config)?;
    let theirs = all.iter().flat_map(|hsm| hsm.environment.keys().cloned());
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    refuse_spies(ours.chain(theirs))?;
    with_rereadable_pins(members).map_err(|error| Failure::new(format!("hsm.pin: {error}")))
}

/// The verbs of whoever runs this program on `store`.
///
/// # Errors
/// If the audit trail has no place.
pub fn admin(config: &Config, store: Store) -> Result<Admin, Failure> {
    let wrong = |error| Failure::new(format!("audit.path: {}: {error}", config.audit.path.display()));
    let trail = TrailAddress::of(&config.audit.path).map_err(wrong)?;
    let operator = Operator { person: person::whoever_runs_this(), trail };
    Ok(Admin::new(store, config.account.clone(), config.partition.clone(), operator, SystemClock.now()))
}

/// Some modules, and some environments, write every PKCS#11 call to a file, PINs included.
fn refuse_spies(mut environment: impl Iterator<Item = String>) -> Result<(), Failure> {
    let spies = |name: &str| {
        matches!(name, "PKCS11SPY" | "P11_KIT_DEBUG")
            || name.ends_with("_PKCS11_DBG")
            || name.starts_with("PKCS11_LOGGER_")
    };
    match environment.find(|name| spies(name)) {
        Some(name) => Err(Failure::new(format!("{name} is set: it may write PINs to a file. Unset it."))),
        None => Ok(()),
    }
}

/// Serves until `stop`, then lets the calls under way finish, also those whose clients are gone. What changes of the
/// configuration comes from `source`.
pub async fn serve(
    config: Config,
    service: Service,
    entrance: Entrance,
    source: Source,
    supervisor: Arc<Supervisor>,
    stop: Stop,
) {
    tracing::info!(url = entrance.url(), version = env!("CARGO_PKG_VERSION"), "serving");
    let Entrance { listener, presented, .. } = entrance;
    let kms = Arc::clone(&service.kms);
    let premises = Premises::new(&config, &kms).await;
    let (guests, under_way) = (Arc::clone(&premises.guests), premises.calls.under_way());
    let (current, connections) = watch::channel(Arc::new(premises.treating(&config, presented.as_ref())));
    let reloads = Reloads {
        kms: Arc::clone(&kms),
        supervisor: Arc::clone(&supervisor),
        source,
        config,
        presented,
        premises,
        current,
    };
    match signal(SignalKind::hangup()) {
        Ok(signals) => drop(tokio::spawn(reloads.at_each(signals))),
        Err(error) => tracing::error!(%error, "SIGHUP cannot be listened for"),
    }
    tokio::select! {
        () = connections::accept(connections, listener, stop) => {}
        () = supervisor.follow(&kms) => {}
    }
    tracing::info!("stopping");
    supervisor.stopping();
    let drained = async {
        guests.close().await;
        under_way.end().await;
    };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some requests were still under way when the time to stop was over");
    }
    tasks::stop(&service.kms).await;
    service.hsm.stop();
    let closed = service.kms.close_key_stores(HSM_STOP).await;
    if !service.hsm.stopped(HSM_STOP).await || !closed {
        tracing::warn!("a call to the HSM had not come back when the time to stop was over");
    }
}

/// What connections have in common whatever changes of the configuration.
struct Premises {
    calls: Arc<Calls>,
    guests: Arc<Guests>,
    tally: Arc<Tally>,
    spelling: Spelling,
}

impl Premises {
    async fn new(config: &Config, kms: &Arc<Kms>) -> Self {
        let most = descriptors::connections(config.limits.connections, config.hsm.isolation, config.clusters.len());
        let tally = Arc::new(Tally::new(Arc::clone(kms)));
        let calls = Arc::new(Calls::new(Arc::clone(kms)));
        let spelling = Spelling::learn().await;
        Self { calls, guests: Guests::new(most), tally, spelling }
    }

    /// Connections as this configuration treats them.
    fn treating(&self, config: &Config, presented: Option<&Presented>) -> Connections {
        let limits = config.limits.clone();
        let api_limits = api::Limits {
            body_bytes: limits.body_bytes,
            all_bodies_bytes: limits.all_bodies_bytes,
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
        };
        let api = api::router(Arc::clone(&self.calls), api_limits, &config.allowed_origins);
        Connections {
            app: health::router(Arc::clone(self.calls.kms())).merge(api),
            tls: presented.map(|presented| presented.acceptor.clone()),
            limits,
            guests: Arc::clone(&self.guests),
            tally: Arc::clone(&self.tally),
            spelling: self.spelling.clone(),
        }
    }
}

/// The wish of SIGTERM or SIGINT that the program ends.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    asked: bool,
}

impl Stop {
    /// Listens from now on. Before it, the signals end the program at once.
    ///
    /// # Errors
    /// If the signals cannot be listened for.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::new);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            asked: false,
        })
    }

    /// Ends when the program is asked to end, or was already.
    pub async fn asked(&mut self) {
        if !self.asked {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            self.asked = true;
        }
    }

    /// Lets the start go on for a while when the program is asked to end: SoftHSM2 loses its token when it is ended
    /// inside a login.
    ///
    /// # Errors
    /// Those of the start; that it was not done in time.
    pub async fn delay<T>(&mut self, start: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            started = start => started,
            () = async { self.asked().await; tokio::time::sleep(DRAIN).await } => {
                Err(Failure::new("asked to end while starting"))
            }
        }
    }
}
