//! A worker process: its end of the socket pair. The service's is `process`.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::secret::SecretText;

use crate::hsm::engine::Engine;
use crate::hsm::engine::command::{AnyAnswer, Check};
use crate::hsm::engine::setup::AnyOneShot;
use crate::hsm::error::HsmError;
use crate::hsm::pin::HeldPin;
use crate::hsm::settings::Settings;

use super::FAREWELL;
use super::frames::{Inbox, Port};
use super::messages::{FromWorker, Report, SentCommand, SentPin, ToWorker};

/// How often a worker says how it is.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// How often a worker that is to end looks whether what is under way is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The main function of a worker process: it opens the HSM that the first frame names, and does what it is asked until nobody asks. Or
/// the one job that the first frame gives.
///
/// # Errors
/// If standard input is not the socket of a service.
pub fn serve_as_worker() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve());
    runtime.shutdown_background();
    served.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

/// True if the service is gone, which a worker is not to complain of: it may have needed another HSM only.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

async fn serve() -> io::Result<()> {
    // A stop is the service's to order: an interrupt at the terminal and systemd's SIGTERM go to every process.
    let _deaf = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let port = Arc::new(Port::new(UnixStream::from_std(socket)?));
    let mut inbox = Inbox::default();
    let unblocking = Arc::clone(&port);
    tokio::spawn(async move { unblocking.unblock().await });
    let pin_requests = Arc::new(PinRequests { port: Arc::clone(&port), waiting: Mutex::default() });
    let engine = match first(&port, &mut inbox).await? {
        Some(ToWorker::Start { settings, pin, known }) => {
            open(&port, pin_requests.settings(*settings, pin), known).await?
        }
        Some(ToWorker::OneShot { settings, pin, job }) => {
            return carry_out(&port, pin_requests.settings(*settings, pin), *job).await;
        }
        Some(_) => return Err(io::Error::other("the first frame says neither which HSM nor what for")),
        None => None,
    };
    let Some(engine) = engine else { return Ok(()) };
    let reporting = tokio::spawn(report(engine.clone(), Arc::clone(&port)));
    let under_way = Arc::new(());
    let ordered = converse(&engine, &port, &pin_requests, inbox, &under_way).await;
    while ordered && Arc::strong_count(&under_way) > 1 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    reporting.abort();
    engine.stop();
    engine.wait_until_stopped(FAREWELL);
    Ok(())
}

/// The first frame, which says what the process is for; `None` if none comes.
async fn first(port: &Port, inbox: &mut Inbox) -> io::Result<Option<ToWorker<'static>>> {
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
async fn open(port: &Port, settings: Settings, known: Option<String>) -> io::Result<Option<Engine>> {
    let known = known.and_then(|text| serde_json::from_str(&text).ok());
    let started =
        tokio::task::spawn_blocking(move || Engine::start_knowing(settings, known)?.with_wrapping_key()).await?;
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

/// Does what is asked until a stop is ordered, or nobody asks any more; whether it was ordered.
async fn converse(
    engine: &Engine,
    port: &Arc<Port>,
    pin_requests: &PinRequests,
    mut inbox: Inbox,
    under_way: &Arc<()>,
) -> bool {
    while let Ok(true) = port.fill(&mut inbox).await {
        while let Ok(Some(request)) = inbox.next() {
            match request {
                ToWorker::Call(call) => perform(engine, port, call, Arc::clone(under_way)),
                ToWorker::CheckAnew { number, patience_us } => {
                    check_anew(engine, port, number, patience_us, Arc::clone(under_way));
                }
                ToWorker::Forget(material) => engine.forget(material),
                ToWorker::Pin(pin) => pin_requests.hand_out(pin),
                ToWorker::Stop => return true,
                ToWorker::Start { .. } | ToWorker::OneShot { .. } => {}
            }
        }
    }
    false
}

/// Does a command; `under_way` is held until it is done, or dropped because it is late.
fn perform(engine: &Engine, port: &Arc<Port>, call: SentCommand<'_>, under_way: Arc<()>) {
    let SentCommand { number, patience_us, asker, command } = call;
    let port = Arc::clone(port);
    let task = command.into_queued(move |result| {
        answer(&port, number, result);
        drop(under_way);
    });
    engine.post(asker, task, deadline(patience_us));
}

/// Logs in anew and asks for the known answer.
fn check_anew(engine: &Engine, port: &Arc<Port>, number: u64, patience_us: u64, under_way: Arc<()>) {
    let engine = engine.clone();
    let port = Arc::clone(port);
    let deadline = deadline(patience_us);
    tokio::spawn(async move {
        let checked = match engine.renew(deadline).await {
            Ok(()) => engine.call(Check, deadline).await,
            Err(error) => Err(error),
        };
        answer(&port, number, checked.map(AnyAnswer::Check));
        drop(under_way);
    });
}

fn deadline(patience_us: u64) -> Instant {
    Instant::now() + Duration::from_micros(patience_us)
}

fn answer(port: &Port, number: u64, result: Result<AnyAnswer, HsmError>) {
    // A service that is gone needs no answer.
    let _ = port.send(&FromWorker::Answer { number, result });
}

/// Says how the worker is, by period and whenever a call does not return.
async fn report(engine: Engine, port: Arc<Port>) {
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    let mut hangs = engine.hangs();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = hangs.more() => {}
        }
        let report = Report { resident_bytes: resident_bytes(), ..Report::of(&engine) };
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
