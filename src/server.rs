//! Puts the service together and serves it: machines → service → doors → connections.

pub mod descriptors;
mod guests;
pub mod operator;
mod patient;

use std::{
    error::Error,
    io,
    net::SocketAddr,
    num::NonZero,
    os::unix::process::CommandExt,
    path::Path,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use self::{
    guests::{Guest, Guests, Seat},
    patient::Patient,
};
use crate::{
    api::{self, Peer, UnderWay},
    audit::Trail,
    authn::Vault,
    clock::{Clock, SystemClock},
    config::{Config, Limits, Tls},
    error::Code,
    health,
    hsm::{self, Clusters, Hsm, HsmError, Isolation, Kind, Launch, PinSource},
    kms::{
        Kms, Machines,
        admin::{self, Admin},
    },
    store::Store,
    tasks,
};

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections that wait to be accepted. Beyond, the system drops them, and their clients try again a second later: with
/// the usual 128 a crowd that comes at once, as after a restart, takes half a minute to come in.
const BACKLOG: u32 = 4096;
/// How long a stop waits for requests that are under way.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a connection that is closed may take to send what it was about to, if no request is under way.
const LAST_WORDS: Duration = Duration::from_millis(500);
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
        let error = error.into();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            text.push_str(": ");
            text.push_str(&deeper.to_string());
            cause = deeper.source();
        }
        Self { text, exit: 1 }
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
    let admin = admin(config, store.clone());
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
    let mut known: Vec<(PinSource, PinSource)> = Vec::new();
    let reread = members.into_iter().map(|settings| {
        let pin = match known.iter().find(|(from, _)| *from == settings.pin) {
            Some((_, pin)) => pin.clone(),
            None => settings.pin.clone().rereadable()?,
        };
        known.push((settings.pin, pin.clone()));
        Ok(hsm::Settings { pin, ..settings })
    });
    reread.collect()
}

/// Opens the store.
///
/// # Errors
/// If it cannot be read, or is of a version that this program does not know.
pub async fn open_store(config: &Config) -> Result<Store, Failure> {
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

/// The operator's verbs on `store`.
pub fn admin(config: &Config, store: Store) -> Admin {
    Admin::new(store, config.account.clone(), config.partition.clone(), SystemClock.now())
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

/// Where connections come in.
pub struct Entrance {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Entrance {
    /// Binds the address that the configuration names, and reads the certificate if it names one.
    ///
    /// # Errors
    /// If the address is taken or not ours, or TLS cannot be set up.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let failed = |error| Failure::new(format!("{}: {error}", config.listen));
        let listener = listen(config.listen).map_err(failed)?;
        Ok(Self { address: listener.local_addr().map_err(failed)?, listener, tls })
    }

    /// What clients call it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As TcpListener::bind does: what connections of the last start left behind does not keep the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then lets the calls under way finish, also those whose clients are gone.
pub async fn serve(config: &Config, service: Service, entrance: Entrance, stop: Stop) {
    let limits = config.limits.clone();
    tracing::info!(url = entrance.url(), version = env!("CARGO_PKG_VERSION"), "serving");
    let Entrance { listener, tls, .. } = entrance;
    let under_way = UnderWay::default();
    let api_limits =
        api::Limits { body_bytes: limits.body_bytes, body_timeout: Duration::from_millis(limits.body_timeout_ms) };
    let api = api::router(Arc::clone(&service.kms), api_limits, under_way.clone());
    let app = health::router(Arc::clone(&service.kms)).merge(api);
    let guests = Guests::new(descriptors::connections(limits.connections, config.hsm.isolation, config.clusters.len()));
    accept(listener, Connections { app, tls, limits, guests: Arc::clone(&guests) }, stop).await;
    tracing::info!("stopping");
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

/// What every connection needs.
struct Connections {
    app: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    guests: Arc<Guests>,
}

/// Accepts connections until `stop`; those for which there is no room wait in the listener's own queue.
async fn accept(listener: TcpListener, connections: Connections, mut stop: Stop) {
    let connections = Arc::new(connections);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            newcomer = connections.newcomer(&listener) => match newcomer {
                Ok((stream, peer, seat)) => drop(tokio::spawn(Arc::clone(&connections).welcome(stream, peer, seat))),
                Err(error) => {
                    // Out of descriptors, most likely: give those in use time to be closed.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

impl Connections {
    async fn newcomer(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Seat)> {
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, self.guests.seat().await))
    }

    async fn welcome(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        // Answers are small and whole: waiting to fill a packet only makes them late.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, Duration::from_millis(self.limits.body_timeout_ms));
        match &self.tls {
            None => self.converse(stream, peer, &seat.guest).await,
            Some(tls) => {
                let handshake = timeout(self.header_timeout(), tls.accept(stream));
                let handshake = tokio::select! {
                    handshake = handshake => handshake,
                    () = seat.guest.dismissed() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => self.converse(stream, peer, &seat.guest).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                }
            }
        }
        // The room is given back when the descriptor has been.
        drop(seat);
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
        guest: &Arc<Guest>,
    ) {
        let (app, asking, address): (_, _, Arc<str>) =
            (self.app.clone(), Arc::clone(guest), peer.ip().to_string().into());
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(Arc::clone(&address)));
            let (answer, asking) = (app.clone().call(request), Arc::clone(&asking));
            asking.ask();
            async move {
                let answer = answer.await;
                asking.be_answered(answer.as_ref().is_ok_and(|answer| answer.status().is_success()));
                answer
            }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.header_timeout())
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = guest.dismissed() => {
                connection.as_mut().graceful_shutdown();
                finished(connection, guest).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }

    /// Time for a request's head; a connection may be idle as long.
    fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.limits.header_timeout_ms)
    }
}

/// Lets a connection come to its end: a request that is under way is answered, and nothing else is waited for.
async fn finished<E>(mut connection: Pin<&mut impl Future<Output = Result<(), E>>>, guest: &Guest) -> Result<(), E> {
    loop {
        match timeout(LAST_WORDS, connection.as_mut()).await {
            Ok(ended) => return ended,
            Err(_) if guest.is_asking() => {}
            Err(_) => return Ok(()),
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Failure> {
    let unreadable = |path: &Path, error| Failure::new(format!("tls: {}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&tls.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unreadable(&tls.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::new)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| Failure::new(format!("tls: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
