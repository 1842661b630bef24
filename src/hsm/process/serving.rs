//! A worker process: its end of the socket pair. The service's is `worker_process`.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::secret::SecretText;

use crate::hsm::engine::Engine;
use crate::hsm::engine::setup::AnyOneShot;
use crate::hsm::memory::{Memory, SentMemory};
use crate::hsm::pin::HeldPin;
use crate::hsm::settings::Settings;

use super::FAREWELL;
use super::frames::{Inbox, Port};
use super::messages::{FromWorker, Report, SentPin, ToWorker};

/// How often a worker says how it is.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The main function of a worker process: it opens the HSM that the first frame names, and does what it is asked until nobody asks. Or
/// the one job that the first frame gives.
///
/// # Errors
/// If standard input is not the socket of a service.
pub fn serve_as_worker() -> io::Result<()> {
    let socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    served(async {
        // A stop is the service's to order: an interrupt at the terminal and systemd's SIGTERM go to every process.
        let _deaf = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        serve(socket).await
    })
}

/// The same on a thread of the service's own process.
pub(super) fn serve_on_thread(socket: StdStream) -> io::Result<()> {
    served(serve(socket))
}

fn served(serve: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve);
    runtime.shutdown_background();
    served.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

/// True if the service is gone, which a worker is not to complain of: it may have needed another HSM only.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

async fn serve(socket: StdStream) -> io::Result<()> {
    let memory = SentMemory::receive(&socket)?;
    socket.set_nonblocking(true)?;
    let port = Arc::new(Port::new(UnixStream::from_std(socket)?));
    let mut inbox = Inbox::default();
    let unblocking = Arc::clone(&port);
    tokio::spawn(async move { unblocking.unblock().await });
    let pin_requests = Arc::new(PinRequests { port: Arc::clone(&port), waiting: Mutex::default() });
    match (first(&port, &mut inbox).await?, memory) {
        (Some(ToWorker::Start { settings, pin, known, seed }), Some(memory)) => {
            let memory = memory.open(settings.sessions, seed)?;
            match open(&port, pin_requests.settings(*settings, pin), known, memory).await? {
                Some(engine) => run(engine, port, &pin_requests, inbox).await,
                None => Ok(()),
            }
        }
        (Some(ToWorker::OneShot { settings, pin, job }), _) => {
            carry_out(&port, pin_requests.settings(*settings, pin), *job).await
        }
        (Some(_), _) => Err(io::Error::other("the first frame says neither which HSM nor what for")),
        (None, _) => Ok(()),
    }
}

/// Has the engine serve until it is to stop.
async fn run(engine: Engine, port: Arc<Port>, pin_requests: &PinRequests, inbox: Inbox) -> io::Result<()> {
    let engine = Arc::new(engine);
    tokio::select! {
        () = report(&engine, &port) => {}
        () = converse(&engine, &port, pin_requests, inbox) => {}
    }
    engine.stop();
    tokio::task::spawn_blocking(move || engine.wait_until_stopped(FAREWELL)).await?;
    Ok(())
}

/// The first frame, which says what the process is for; `None` if none comes.
async fn first(port: &Port, inbox: &mut Inbox) -> io::Result<Option<ToWorker>> {
    loop {
        match inbox.next()? {
            Some(request) => return Ok(Some(request)),
            None if !port.fill(inbox).await? => return Ok(None),
            None => {}
        }
    }
}

/// Where a worker gets the PIN that the service holds: once with the first frame, and then by asking.
struct PinRequests {
    port: Arc<Port>,
    waiting: Mutex<VecDeque<oneshot::Sender<Option<SentPin>>>>,
}

impl PinRequests {
    /// These settings, with what gives the PIN if the service has sent it.
    fn settings(self: &Arc<Self>, settings: Settings, pin: Option<SentPin>) -> Settings {
        let ask = |pin: SentPin| {
            let pin_requests = Arc::clone(self);
            HeldPin::new(pin.into(), move || Arc::clone(&pin_requests).ask())
        };
        Settings { held_pin: pin.map(ask), ..settings }
    }

    async fn ask(self: Arc<Self>) -> Result<SecretText, String> {
        let (promise, answer) = oneshot::channel();
        self.waiting().push_back(promise);
        self.port.send(&FromWorker::WantsPin).map_err(|error| error.to_string())?;
        let pin = answer.await.ok().flatten().ok_or("the service does not give it now")?;
        Ok(pin.into())
    }

    /// To the first who still waits.
    fn hand_out(&self, mut pin: Option<SentPin>) {
        while let Some(promise) = self.waiting().pop_front() {
            match promise.send(pin) {
                Ok(()) => return,
                Err(back) => pin = back,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Option<SentPin>>>> {
        self.waiting.lock()
    }
}

/// Does the one job.
async fn carry_out(port: &Port, settings: Settings, job: AnyOneShot) -> io::Result<()> {
    let done = tokio::task::spawn_blocking(move || job.run(&settings)).await?;
    port.send(&FromWorker::CarriedOut(done))
}

/// Opens the HSM, and says so, or why not.
async fn open(port: &Port, settings: Settings, known: Option<String>, memory: Memory) -> io::Result<Option<Engine>> {
    let known = known.and_then(|text| serde_json::from_str(&text).ok());
    let started = tokio::task::spawn_blocking(move || Engine::start(settings, known, memory)).await?;
    let (engine, told) = match started {
        Ok(engine) => {
            let profile = serde_json::to_string(&*engine.profile())?;
            (Some(engine), Ok(profile))
        }
        Err(error) => (None, Err(error)),
    };
    port.send(&FromWorker::Started(told))?;
    Ok(engine)
}

/// Does what is asked until a stop is ordered, nobody asks any more, or it cannot be done.
async fn converse(engine: &Engine, port: &Port, pin_requests: &PinRequests, mut inbox: Inbox) {
    while let Ok(true) = port.fill(&mut inbox).await {
        while let Ok(Some(request)) = inbox.next() {
            match request {
                ToWorker::Replace { thread } => {
                    if let Err(error) = engine.replace(thread) {
                        return tracing::error!(%error, "no thread could be started");
                    }
                }
                ToWorker::Pin(pin) => pin_requests.hand_out(pin),
                ToWorker::Stop => return,
                ToWorker::Start { .. } | ToWorker::OneShot { .. } => {}
            }
        }
    }
}

/// Says how the worker is, by period, as long as there is somebody to tell, and the shared memory is whole.
async fn report(engine: &Engine, port: &Port) {
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    while !engine.is_corrupted() {
        ticks.tick().await;
        let report = Report {
            errors: engine.errors(),
            lacks_wrapping_key: engine.lacks_wrapping_key(),
            threads_lost: engine.threads_lost(),
            threads_returned: engine.threads_returned(),
            resident_bytes: resident_bytes(),
        };
        if port.send(&FromWorker::Report(report)).is_err() {
            return;
        }
    }
}

/// Memory that this process takes up (proc(5): the second field of `statm`, in pages).
fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}
