//! A worker process: the engine of one HSM in a process of its own, and the service's end of the conversation with it. Commands
//! go through the shared memory instead (`dispatch`).
//!
//! A vendor's module may crash, hang, leak or eat file descriptors: it does so in the worker process, and a worker
//! is replaced. The PIN is read by the worker, and never is in the service's memory, unless it is one that only the service
//! can get: then the worker asks for it at each login.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, watch};

use crate::hsm::engine::profile::Profile;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::ledger::Ledger;
use crate::hsm::memory::{Memory, SentMemory};
use crate::hsm::pin::HeldPin;
use crate::hsm::settings::Settings;

use super::Launch;
use super::frames::{Inbox, Port};
use super::host::Host;
use super::messages::{FromWorker, Report, SentPin, ToWorker};

/// How long a kill waits for a login to end: SoftHSM2 loses its token if it is killed inside one.
const LOGIN: Duration = Duration::from_secs(2);

/// The service's end.
pub(in crate::hsm) struct WorkerProcess {
    port: Port,
    report: Mutex<(Instant, Report)>,
    held_pin: Option<HeldPin>,
    /// Asks the task that waits for the process to kill the process.
    kill: mpsc::Sender<()>,
    /// True if the process has ended.
    over: watch::Receiver<bool>,
}

impl WorkerProcess {
    /// Starts a worker process and waits until its HSM is open, or until `stopping` ends: then the process has ended, too. The
    /// memory is what it is to share, and the pipe is how it calls.
    pub(in crate::hsm) async fn start(
        launch: &Launch,
        settings: &Settings,
        known: Option<&Profile>,
        stopping: impl Future<Output = ()>,
    ) -> Result<(Arc<Self>, (Memory, Receiver), Profile), HsmError> {
        let known = known.and_then(|profile| serde_json::to_string(profile).ok());
        let seed = random_seed()?;
        let (memory, called) = Memory::create(settings.sessions, seed).map_err(not_started)?;
        let pin = held_pin(settings).await?;
        let first = ToWorker::Start { settings: Box::new(settings.clone()), pin, known, seed };
        let (host, port) = spawn(launch, settings, Some(&memory), &first).map_err(not_started)?;
        let (kill, killed) = mpsc::channel(1);
        let (ending, mut over) = watch::channel(false);
        // It kills the process, too, when nobody waits for it to start any more.
        tokio::spawn(keep(host, settings.clone(), killed, ending));
        let mut inbox = Inbox::default();
        let started = reply(&port, &mut inbox, |response| match response {
            FromWorker::Started(started) => Some(started),
            _ => None,
        });
        let started = tokio::select! {
            started = started => started?,
            () = stopping => {
                let _ = kill.try_send(());
                let _ = over.wait_for(|over| *over).await;
                return Err(HsmError::stopped());
            }
        };
        let profile = Profile::from_json(&started).map_err(|_| ended())?;
        let report = Mutex::new((Instant::now(), Report::default()));
        let process = Arc::new(Self { port, report, held_pin: settings.held_pin.clone(), kill, over });
        tokio::spawn(Arc::clone(&process).listen(inbox));
        tokio::spawn(Arc::clone(&process).unblock());
        Ok((process, (memory, called), profile))
    }

    /// Has another thread take the place of one whose call does not return. A process that is gone has none.
    pub(in crate::hsm) fn replace(&self, thread: usize) {
        let _ = self.port.send(&ToWorker::Replace { thread });
    }

    pub(in crate::hsm) fn report(&self) -> Report {
        self.report.lock().1.clone()
    }

    /// The last report, if there was one.
    pub(in crate::hsm) fn heard(&self) -> Option<Report> {
        Some(self.report()).filter(|report| report.resident_bytes != 0)
    }

    pub(in crate::hsm) fn silence(&self) -> Duration {
        self.report.lock().0.elapsed()
    }

    pub(in crate::hsm) async fn ended(&self) {
        // An error means that the task which waits for the process is gone, and the process with it.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    /// Kills it.
    pub(in crate::hsm) fn kill(&self) {
        let _ = self.kill.try_send(());
    }

    /// Lets it finish, and kills it if it does not; whether it ended by itself.
    pub(in crate::hsm) async fn retire(&self, patience: Duration) -> bool {
        let _ = self.port.send(&ToWorker::Stop);
        if tokio::time::timeout(patience, self.ended()).await.is_ok() {
            return true;
        }
        self.kill();
        self.ended().await;
        false
    }

    /// Hears what the worker says, until it says no more.
    async fn listen(self: Arc<Self>, mut inbox: Inbox) {
        while let Ok(true) = self.port.fill(&mut inbox).await {
            while let Ok(Some(response)) = inbox.next() {
                self.hear(response);
            }
        }
    }

    /// Goes on sending what did not fit, as long as there is somebody to send to.
    async fn unblock(self: Arc<Self>) {
        tokio::select! {
            _ = self.port.unblock() => {}
            () = self.ended() => {}
        }
    }

    fn hear(self: &Arc<Self>, response: FromWorker) {
        match response {
            FromWorker::Report(report) => *self.report.lock() = (Instant::now(), report),
            FromWorker::WantsPin => drop(tokio::spawn(Arc::clone(self).give_pin())),
            FromWorker::Started(_) | FromWorker::CarriedOut(_) => {}
        }
    }

    async fn give_pin(self: Arc<Self>) {
        let pin = match &self.held_pin {
            Some(held) => held.give().await,
            None => Err(HsmError::new(Kind::Bug, "PIN", "the worker asks for what the service does not hold")),
        };
        let pin = pin.inspect_err(|error| tracing::warn!(%error, "the PIN of an HSM cannot be had")).ok();
        // A worker that is gone needs no PIN.
        let _ = self.port.send(&ToWorker::Pin(pin.map(SentPin::from)));
    }
}

/// The error of a command to a worker process that is gone.
pub(in crate::hsm) fn ended() -> HsmError {
    HsmError::new(Kind::DeviceLost, "worker process", "the worker process of the HSM has ended")
}

pub(super) fn not_started(error: io::Error) -> HsmError {
    HsmError::misconfigured("start the worker process", error.to_string())
}

/// The PIN, if this process holds it and the worker could not find it.
pub(super) async fn held_pin(settings: &Settings) -> Result<Option<SentPin>, HsmError> {
    match &settings.held_pin {
        Some(held) => held.give().await.map(|pin| Some(pin.into())),
        None => Ok(None),
    }
}

fn random_seed() -> Result<u64, HsmError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)
        .map_err(|error| HsmError::misconfigured("start the worker process", error.to_string()))?;
    Ok(u64::from_le_bytes(seed))
}

/// A worker process that has been told what it is for, and has the memory that it is to share.
pub(super) fn spawn(
    launch: &Launch,
    settings: &Settings,
    memory: Option<&Memory>,
    first: &ToWorker,
) -> io::Result<(Host, Port)> {
    let (ours, theirs) = StdStream::pair()?;
    match memory {
        Some(memory) => memory.send(&ours)?,
        None => SentMemory::send_none(&ours)?,
    }
    let host = Host::start(launch, settings, theirs)?;
    ours.set_nonblocking(true)?;
    let port = Port::new(UnixStream::from_std(ours)?);
    port.send(first)?;
    Ok((host, port))
}

/// The first response of a kind, while what did not fit into the socket is sent.
pub(super) async fn reply<T>(
    port: &Port,
    inbox: &mut Inbox,
    pick: impl Fn(FromWorker) -> Option<Result<T, HsmError>>,
) -> Result<T, HsmError> {
    let hear = async {
        loop {
            match inbox.next().map_err(|error| HsmError::misconfigured("worker process", error.to_string()))? {
                Some(response) => {
                    if let Some(picked) = pick(response) {
                        return picked;
                    }
                }
                None if port.fill(inbox).await.unwrap_or(false) => {}
                None => return Err(ended()),
            }
        }
    };
    tokio::select! {
        heard = hear => heard,
        _ = port.unblock() => Err(ended()),
    }
}

/// Waits for the end of the process, and brings it about when asked.
pub(super) async fn keep(
    mut host: Host,
    settings: Settings,
    mut killed: mpsc::Receiver<()>,
    ending: watch::Sender<bool>,
) {
    let asked = tokio::select! {
        () = host.ended() => false,
        _ = killed.recv() => true,
    };
    if asked {
        let turn = tokio::task::spawn_blocking(move || Ledger::lock_within(&settings.ledger, LOGIN));
        let turn = turn.await;
        host.kill().await;
        drop(turn);
    }
    let _ = ending.send(true);
}
