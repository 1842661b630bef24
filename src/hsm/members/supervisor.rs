//! The supervisor of a member: one task, which hears the end of calls and processes, has `recovery` decide, and acts.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::backend::{Backend, EngineReport};
use super::member::Member;
use super::recovery::{self, MemberAction, MemberEvent, MemberState};
use crate::hsm::dispatch::HangWatch;
use crate::hsm::engine::command::Check;
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::process::FAREWELL;
use crate::identity::Asker;

/// How often the supervisor looks after what nobody tells it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A worker process that has not said how it is for so long does not work.
const MUTE: Duration = Duration::from_secs(5);

/// How long the known answer may take.
const PROBE: Duration = Duration::from_secs(1);

/// How long an engine that is replaced may finish what it has.
const DRAIN: Duration = Duration::from_secs(60);

/// How long it is waited before a replacement that failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// A message to the supervisor.
pub(in crate::hsm) enum SupervisorMessage {
    MemberEvent(MemberEvent),
    /// An engine was started, for the first time or anew.
    Started(Result<(Backend, Profile), HsmError>),
    /// An engine to take the place of one that is well.
    Successor(Result<(Backend, Profile), HsmError>),
}

/// The supervisor of one member.
pub(in crate::hsm) struct Supervisor {
    member: Arc<Member>,
    state: MemberState,
    /// The engine that runs, also while no calls go to it.
    running: Option<Arc<Backend>>,
    hangs: Option<HangWatch>,
    /// Memory of its process when it was new; 0 until it is known.
    size_when_new: u64,
    /// The successor that is being started, or the time before which none is to be.
    successor: Successor,
    /// How starts have failed since it was well, as far as the log was told.
    told: HashSet<Kind>,
    /// Engines that are being started.
    coming: usize,
    /// When the HSM was last called to keep it from closing sessions.
    kept_alive: Instant,
}

enum Successor {
    None,
    Coming,
    NotBefore(Instant),
}

impl Supervisor {
    pub(in crate::hsm) fn new(member: Arc<Member>) -> Self {
        let state = MemberState::Starting { failures: 0 };
        Self {
            member,
            state,
            running: None,
            hangs: None,
            size_when_new: 0,
            successor: Successor::None,
            told: HashSet::new(),
            coming: 0,
            kept_alive: Instant::now(),
        }
    }

    pub(in crate::hsm) async fn keep(mut self, mut news: mpsc::UnboundedReceiver<SupervisorMessage>) {
        self.begin_start();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut stopping = std::pin::pin!(self.member.stopping());
        loop {
            let running = self.running.clone();
            let due = self.state.due();
            let keepalive = self.keepalive_due();
            tokio::select! {
                () = &mut stopping => break,
                Some(news) = news.recv() => self.take(news),
                () = ended(running.as_deref()) => self.lose(),
                calls = more_hang(self.hangs.as_mut()) => self.doubt(calls),
                () = until(due) => self.on(MemberEvent::Due),
                _ = looks.tick() => self.look(),
                () = until(keepalive) => self.begin_keepalive(),
            }
        }
        self.member.admit(None);
        self.member.note_trouble("the service is stopping");
        if let Some(backend) = self.running.take() {
            backend.retire(FAREWELL).await;
        }
        self.await_those_coming(news).await;
        self.member.stopped.store(true, Ordering::Release);
    }

    /// A worker in the middle of its start is not left to itself, nor killed in its login.
    async fn await_those_coming(&mut self, mut news: mpsc::UnboundedReceiver<SupervisorMessage>) {
        while self.coming > 0 {
            let Some(SupervisorMessage::Started(outcome) | SupervisorMessage::Successor(outcome)) = news.recv().await
            else {
                continue;
            };
            self.coming -= 1;
            if let Ok((backend, _)) = outcome {
                backend.retire(FAREWELL).await;
            }
        }
    }

    fn take(&mut self, news: SupervisorMessage) {
        if matches!(news, SupervisorMessage::Started(_) | SupervisorMessage::Successor(_)) {
            self.coming -= 1;
        }
        match news {
            SupervisorMessage::MemberEvent(event) => self.on(event),
            SupervisorMessage::Started(Ok((backend, profile))) => {
                self.member.note_start(None);
                self.install(backend, profile);
                self.on(MemberEvent::Started);
            }
            SupervisorMessage::Started(Err(error)) => {
                self.member.note_trouble(error.to_string());
                let kind = error.kind;
                self.member.note_start(Some(error));
                self.on(MemberEvent::NotStarted(kind));
            }
            SupervisorMessage::Successor(outcome) => self.succeed(outcome),
        }
    }

    /// Takes the engine that runs out of service.
    fn take_running(&mut self) -> Option<Arc<Backend>> {
        let backend = self.running.take()?;
        self.hangs = None;
        self.member.past().keep(&backend.report());
        Some(backend)
    }

    fn install(&mut self, backend: Backend, profile: Profile) {
        self.member.put_profile(profile);
        self.size_when_new = 0;
        self.hangs = Some(backend.hangs());
        self.running = Some(Arc::new(backend));
    }

    /// The process of the engine has ended by itself.
    fn lose(&mut self) {
        self.take_running();
        self.member.note_trouble("its worker process has ended");
        self.on(MemberEvent::Ended);
    }

    /// So many more calls do not return.
    fn doubt(&mut self, calls: u64) {
        self.member.suspect(true);
        self.on(MemberEvent::Hung(calls));
    }

    /// One step of the state machine, and what follows from it.
    fn on(&mut self, event: MemberEvent) {
        let before = self.state;
        let (state, action) = recovery::next(before, event, Instant::now(), jitter());
        self.state = state;
        self.log(before, event);
        self.member.admit(self.running.clone().filter(|_| state.is_well()));
        match action {
            MemberAction::Nothing => {}
            MemberAction::Probe => self.begin_probe(),
            MemberAction::Start => {
                self.member.restarts.fetch_add(1, Ordering::Relaxed);
                self.begin_start();
            }
        }
    }

    /// One line for each turn of events, which a person understands.
    fn log(&mut self, before: MemberState, event: MemberEvent) {
        let hsm = self.member.name();
        match (before.is_well(), self.state.is_well()) {
            (false, true) => {
                self.told.clear();
                tracing::info!(hsm, "the HSM is well; calls go to it");
            }
            (true, false) => {
                match event {
                    MemberEvent::Failed(kind) => self.member.note_trouble(format!("calls to it fail: {kind}")),
                    MemberEvent::Hung(_) => self.member.note_trouble("calls to it do not return"),
                    _ => {}
                }
                tracing::warn!(hsm, trouble = self.member.trouble(), "no calls go to the HSM until it is well again");
            }
            (false, false) => {
                if let MemberEvent::NotStarted(kind) = event
                    && self.told.insert(kind)
                {
                    let trouble = self.member.trouble();
                    tracing::warn!(hsm, trouble, "the HSM cannot be opened; it is tried again until it can");
                }
            }
            (true, true) => {}
        }
    }

    fn begin_start(&mut self) {
        self.retire();
        self.bring(SupervisorMessage::Started);
    }

    /// Starts an engine, and is told of it so.
    fn bring(&mut self, news: impl FnOnce(Result<(Backend, Profile), HsmError>) -> SupervisorMessage + Send + 'static) {
        self.coming += 1;
        let member = Arc::clone(&self.member);
        tokio::spawn(async move { member.tell(news(member.start().await)) });
    }

    /// Lets the engine that runs come to its end, if there is one.
    fn retire(&mut self) {
        if let Some(backend) = self.take_running() {
            tokio::spawn(async move { backend.retire(FAREWELL).await });
        }
    }

    fn begin_probe(&mut self) {
        let member = Arc::clone(&self.member);
        let backend = self.running.clone();
        tokio::spawn(async move {
            let answered = match backend {
                // It must let us in anew, too.
                Some(backend) => backend.check_anew(Instant::now() + PROBE).await.is_ok(),
                None => false,
            };
            member.tell(SupervisorMessage::MemberEvent(MemberEvent::Probed(answered)));
        });
    }

    /// When the HSM is to be called because nobody else has called it.
    fn keepalive_due(&self) -> Option<Instant> {
        let period = Duration::from_millis(self.member.settings.keepalive_ms);
        (self.state.is_well() && !period.is_zero()).then(|| self.kept_alive + period)
    }

    fn begin_keepalive(&mut self) {
        self.kept_alive = Instant::now();
        let member = Arc::clone(&self.member);
        let backend = self.running.clone();
        tokio::spawn(async move {
            if let Some(backend) = backend {
                let _ = member.call(&backend, Asker::SERVICE, &Check, Instant::now() + PROBE).await;
            }
        });
    }

    fn look(&mut self) {
        let Some(backend) = self.running.clone() else { return };
        if backend.silence() > MUTE {
            self.member.note_trouble("its worker process does not speak");
            return self.on(MemberEvent::Mute);
        }
        let report = backend.report();
        if self.size_when_new == 0 {
            self.size_when_new = report.resident_bytes;
        }
        if backend.has_lost_wrapping_key() {
            self.member.note_trouble("its wrapping key is gone");
            return self.on(MemberEvent::Keyless);
        }
        if let Some(reason) = self.reason_to_replace(&report)
            && self.state.is_well()
            && self.may_have_successor()
        {
            tracing::warn!(hsm = self.member.name(), reason, "the worker of the HSM is replaced");
            self.successor = Successor::Coming;
            self.bring(SupervisorMessage::Successor);
        }
    }

    /// Why an engine that does its work is better replaced.
    fn reason_to_replace(&self, report: &EngineReport) -> Option<&'static str> {
        if report.resident_bytes > self.size_when_new + self.member.settings.growth_bytes {
            return Some("its memory grows");
        }
        (report.gauges.threads_lost >= self.member.settings.sessions.max(1) as u64).then_some("its calls hang")
    }

    fn may_have_successor(&self) -> bool {
        match self.successor {
            Successor::None => true,
            Successor::Coming => false,
            Successor::NotBefore(time) => Instant::now() >= time,
        }
    }

    /// The successor takes over, and the predecessor finishes what it has.
    fn succeed(&mut self, outcome: Result<(Backend, Profile), HsmError>) {
        match outcome {
            Ok((backend, profile)) if self.state.is_well() => {
                let predecessor = self.take_running();
                self.install(backend, profile);
                self.successor = Successor::None;
                self.member.restarts.fetch_add(1, Ordering::Relaxed);
                self.member.admit(self.running.clone());
                if let Some(backend) = predecessor {
                    tokio::spawn(async move { backend.retire(DRAIN).await });
                }
            }
            Ok((backend, _)) => {
                self.successor = Successor::None;
                tokio::spawn(async move { backend.retire(FAREWELL).await });
            }
            Err(error) => {
                tracing::warn!(hsm = self.member.name(), %error, "the worker of the HSM could not be replaced");
                self.successor = Successor::NotBefore(Instant::now() + AGAIN);
            }
        }
    }
}

async fn ended(backend: Option<&Backend>) {
    match backend {
        Some(backend) => backend.ended().await,
        None => std::future::pending().await,
    }
}

async fn more_hang(hangs: Option<&mut HangWatch>) -> u64 {
    match hangs {
        Some(hangs) => hangs.more().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// From 0 to 1, another each time.
fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without randomness all begin together, which is a pity and no more.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
