//! A worker process: the engine of one HSM in a process of its own, and the service's end of the conversation with it.
//!
//! A vendor's module may crash, hang, leak or eat file descriptors: it does so in the worker process, and a worker
//! is replaced. The PIN is read by the worker, and never is in the service's memory, unless it is one that only the service
//! can get: then the worker asks for it at each login.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};

use crate::hsm::engine::HangWatch;
use crate::hsm::engine::command::{AnyAnswer, Check, Command};
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::ledger::Ledger;
use crate::hsm::pin::HeldPin;
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::MaterialId;

use super::Launch;
use super::frames::{Inbox, Port};
use super::messages::{FromWorker, Report, SentCommand, SentPin, ToWorker};

/// How long a kill waits for a login to end: SoftHSM2 loses its token if it is killed inside one.
const LOGIN: Duration = Duration::from_secs(2);

/// The service's end.
pub(in crate::hsm) struct WorkerProcess {
    port: Port,
    pending: Mutex<Waiting>,
    next: AtomicU64,
    report: Mutex<(Instant, Report)>,
    hangs: watch::Sender<u64>,
    held_pin: Option<HeldPin>,
    /// Asks the task that waits for the process to kill the process.
    kill: mpsc::Sender<()>,
    /// True if the process has ended.
    over: watch::Receiver<bool>,
}

/// The callers that wait, by the number of their answer; `None` when no more will come.
type Waiting = Option<HashMap<u64, oneshot::Sender<Result<AnyAnswer, HsmError>>>>;

impl WorkerProcess {
    /// Starts a worker process and waits until its HSM is open, or until `stopping` ends: then the process has ended, too.
    pub(in crate::hsm) async fn start(
        launch: &Launch,
        settings: &Settings,
        known: Option<&Profile>,
        stopping: impl Future<Output = ()>,
    ) -> Result<(Arc<Self>, Profile), HsmError> {
        let known = known.and_then(|profile| serde_json::to_string(profile).ok());
        let first = ToWorker::Start { settings: Box::new(settings.clone()), pin: held_pin(settings).await?, known };
        let (child, port) = spawn(launch, settings, &first).map_err(not_started)?;
        let (kill, killed) = mpsc::channel(1);
        let (ending, mut over) = watch::channel(false);
        // It kills the process, too, when nobody waits for it to start any more.
        tokio::spawn(keep(child, settings.clone(), killed, ending));
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

        let process = Arc::new(Self {
            port,
            pending: Mutex::new(Some(HashMap::new())),
            next: AtomicU64::new(0),
            report: Mutex::new((Instant::now(), Report::default())),
            hangs: watch::Sender::new(0),
            held_pin: settings.held_pin.clone(),
            kill,
            over,
        });
        tokio::spawn(Arc::clone(&process).listen(inbox));
        tokio::spawn(Arc::clone(&process).unblock());
        Ok((process, profile))
    }

    /// Does one command in the worker process.
    pub(in crate::hsm) async fn call<C: Command>(
        &self,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        self.ask(deadline, |number, patience_us| {
            ToWorker::Call(SentCommand { number, patience_us, asker, command: command.sent() })
        })
        .await
        .and_then(C::received)
    }

    /// Has the worker process log in anew and ask for the known answer.
    pub(in crate::hsm) async fn check_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        let answer = self.ask(deadline, |number, patience_us| ToWorker::CheckAnew { number, patience_us }).await;
        answer.and_then(Check::received)
    }

    /// Has the worker process forget the handles of this material. One that is gone has none.
    pub(in crate::hsm) fn forget(&self, material: MaterialId) {
        let _ = self.port.send(&ToWorker::Forget(material));
    }

    /// Sends what `request` makes of the number by which the answer is known and of the microseconds that there are, and waits
    /// for the answer.
    async fn ask<'a>(
        &self,
        deadline: Instant,
        request: impl FnOnce(u64, u64) -> ToWorker<'a>,
    ) -> Result<AnyAnswer, HsmError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let patience_us = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (promise, answer) = oneshot::channel();
        self.pending().as_mut().ok_or_else(ended)?.insert(number, promise);
        let _forget = Forget { process: self, number };
        self.port.send(&request(number, patience_us)).map_err(|_| ended())?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(HsmError::timeout()),
        }
    }

    pub(in crate::hsm) fn report(&self) -> Report {
        self.report.lock().1.clone()
    }

    /// The last report, if there was one.
    pub(in crate::hsm) fn heard(&self) -> Option<Report> {
        Some(self.report()).filter(|report| report.resident_bytes != 0)
    }

    pub(in crate::hsm) fn hangs(&self) -> HangWatch {
        HangWatch::new(self.hangs.subscribe())
    }

    pub(in crate::hsm) fn silence(&self) -> Duration {
        self.report.lock().0.elapsed()
    }

    pub(in crate::hsm) async fn ended(&self) {
        // An error means that the task which waits for the process is gone, and the process with it.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    /// Lets it finish, and kills it if it does not; whether it ended by itself.
    pub(in crate::hsm) async fn retire(&self, patience: Duration) -> bool {
        let _ = self.port.send(&ToWorker::Stop);
        if tokio::time::timeout(patience, self.ended()).await.is_ok() {
            return true;
        }
        let _ = self.kill.try_send(());
        self.ended().await;
        false
    }

    /// Gives the answers to those who wait for them, until no more come.
    async fn listen(self: Arc<Self>, mut inbox: Inbox) {
        while let Ok(true) = self.port.fill(&mut inbox).await {
            while let Ok(Some(response)) = inbox.next() {
                self.hear(response);
            }
        }
        // Who still waits is told by the end of the promise.
        *self.pending() = None;
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
            FromWorker::Answer { number, result } => {
                let promise = self.pending().as_mut().and_then(|pending| pending.remove(&number));
                if let Some(promise) = promise {
                    let _ = promise.send(result);
                }
            }
            FromWorker::Report(report) => {
                self.hangs.send_replace(report.gauges.threads_replaced);
                *self.report.lock() = (Instant::now(), report);
            }
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

    fn pending(&self) -> MutexGuard<'_, Waiting> {
        self.pending.lock()
    }
}

/// Forgets a caller that no longer waits.
struct Forget<'a> {
    process: &'a WorkerProcess,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.process.pending().as_mut() {
            pending.remove(&self.number);
        }
    }
}

fn ended() -> HsmError {
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

/// A worker process that has been told what it is for.
pub(super) fn spawn(launch: &Launch, settings: &Settings, first: &ToWorker<'_>) -> io::Result<(Child, Port)> {
    let (ours, theirs) = StdStream::pair()?;
    let child = process(launch, settings, theirs.into())?;
    ours.set_nonblocking(true)?;
    let port = Port::new(UnixStream::from_std(ours)?);
    port.send(first)?;
    Ok((child, port))
}

/// Its standard input is the socket; its log is ours.
fn process(launch: &Launch, settings: &Settings, socket: OwnedFd) -> io::Result<Child> {
    let mut process = std::process::Command::new(&launch.program);
    process.arg0("strongroom").args(&launch.arguments).envs(&settings.environment);
    process.stdin(Stdio::from(socket)).stdout(Stdio::null());
    tokio::process::Command::from(process).kill_on_drop(true).spawn()
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
    mut child: Child,
    settings: Settings,
    mut killed: mpsc::Receiver<()>,
    ending: watch::Sender<bool>,
) {
    let asked = tokio::select! {
        _ = child.wait() => false,
        _ = killed.recv() => true,
    };
    if asked {
        let turn = tokio::task::spawn_blocking(move || Ledger::lock_within(&settings.ledger, LOGIN));
        let turn = turn.await;
        let _ = child.kill().await;
        drop(turn);
    }
    let _ = ending.send(true);
}
