//! Who looks after a member: one task, which hears what becomes of calls and processes, has `recovery` decide, and acts.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::backend::Link;
use super::member::Member;
use super::recovery::{self, Act, Event, State};
use crate::hsm::engine::Hangs;
use crate::hsm::engine::command::Check;
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::process::{FAREWELL, Report};
use crate::identity::Asker;

/// How often the keeper looks after what nobody tells it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A worker process that has not said how it is for so long does not work.
const MUTE: Duration = Duration::from_secs(5);

/// How long the known answer may take.
const PROBE: Duration = Duration::from_secs(1);

/// How long an engine that is replaced may finish what it has.
const DRAIN: Duration = Duration::from_secs(60);

/// How long it is waited before a replacement that failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// What the keeper is told.
pub(in crate::hsm) enum News {
    Event(Event),
    /// An engine was started, for the first time or anew.
    Started(Result<(Link, Profile), HsmError>),
    /// An engine to take the place of one that is well.
    Successor(Result<(Link, Profile), HsmError>),
}

/// Who acts for a member.
pub(in crate::hsm) struct Keeper {
    member: Arc<Member>,
    state: State,
    /// The engine that runs, also while no calls go to it.
    running: Option<Arc<Link>>,
    hangs: Option<Hangs>,
    /// Memory of its process when it was new; 0 until it is known.
    size_when_new: u64,
    /// Whether a successor is being started, and until when none is to be.
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

impl Keeper {
    pub(in crate::hsm) fn new(member: Arc<Member>) -> Self {
        let state = State::Starting { failures: 0 };
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

    pub(in crate::hsm) async fn keep(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        self.begin_start();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut stopping = std::pin::pin!(self.member.stopping());
        loop {
            let running = self.running.clone();
            let (due, keepalive) = (self.state.due(), self.keepalive_due());
            tokio::select! {
                () = &mut stopping => break,
                Some(news) = news.recv() => self.take(news),
                () = ended(running.as_deref()) => self.lose(),
                calls = more_hang(self.hangs.as_mut()) => self.doubt(calls),
                () = until(due) => self.on(Event::Due),
                _ = looks.tick() => self.look(),
                () = until(keepalive) => self.begin_keepalive(),
            }
        }
        self.member.admit(None);
        self.member.note_trouble("the service is stopping");
        if let Some(link) = self.running.take() {
            link.retire(FAREWELL).await;
        }
        self.await_those_coming(news).await;
        self.member.stopped.store(true, Ordering::Release);
    }

    /// A worker in the middle of its start is not left to itself, nor killed in its login.
    async fn await_those_coming(&mut self, mut news: mpsc::UnboundedReceiver<News>) {
        while self.coming > 0 {
            let Some(News::Started(outcome) | News::Successor(outcome)) = news.recv().await else { continue };
            self.coming -= 1;
            if let Ok((link, _)) = outcome {
                link.retire(FAREWELL).await;
            }
        }
    }

    fn take(&mut self, news: News) {
        if matches!(news, News::Started(_) | News::Successor(_)) {
            self.coming -= 1;
        }
        match news {
            News::Event(event) => self.on(event),
            News::Started(Ok((link, profile))) => {
                self.member.note_start(None);
                self.install(link, profile);
                self.on(Event::Started);
            }
            News::Started(Err(error)) => {
                self.member.note_trouble(error.to_string());
                let kind = error.kind;
                self.member.note_start(Some(error));
                self.on(Event::NotStarted(kind));
            }
            News::Successor(outcome) => self.succeed(outcome),
        }
    }

    /// Takes the engine that runs out of service.
    fn take_running(&mut self) -> Option<Arc<Link>> {
        let link = self.running.take()?;
        self.hangs = None;
        self.member.past().keep(&link.report());
        Some(link)
    }

    fn install(&mut self, link: Link, profile: Profile) {
        self.member.put_profile(profile);
        self.size_when_new = 0;
        self.hangs = Some(link.hangs());
        self.running = Some(Arc::new(link));
    }

    /// The process of the engine has ended by itself.
    fn lose(&mut self) {
        self.take_running();
        self.member.note_trouble("its worker process has ended");
        self.on(Event::Ended);
    }

    /// So many more calls do not return.
    fn doubt(&mut self, calls: u64) {
        self.member.suspect(true);
        self.on(Event::Hung(calls));
    }

    /// One step of the state machine, and what follows from it.
    fn on(&mut self, event: Event) {
        let before = self.state;
        let (state, act) = recovery::next(before, event, Instant::now(), jitter());
        self.state = state;
        self.log(before, event);
        self.member.admit(self.running.clone().filter(|_| state.is_well()));
        match act {
            Act::Nothing => {}
            Act::Probe => self.begin_probe(),
            Act::Start => {
                self.member.restarts.fetch_add(1, Ordering::Relaxed);
                self.begin_start();
            }
        }
    }

    /// One line for each turn of events, which a person understands.
    fn log(&mut self, before: State, event: Event) {
        let hsm = self.member.name();
        match (before.is_well(), self.state.is_well()) {
            (false, true) => {
                self.told.clear();
                tracing::info!(hsm, "the HSM is well; calls go to it");
            }
            (true, false) => {
                match event {
                    Event::Failed(kind) => self.member.note_trouble(format!("calls to it fail: {kind}")),
                    Event::Hung(_) => self.member.note_trouble("calls to it do not return"),
                    _ => {}
                }
                tracing::warn!(hsm, trouble = self.member.trouble(), "no calls go to the HSM until it is well again");
            }
            (false, false) => {
                if let Event::NotStarted(kind) = event
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
        self.bring(News::Started);
    }

    /// Starts an engine, and is told of it so.
    fn bring(&mut self, news: impl FnOnce(Result<(Link, Profile), HsmError>) -> News + Send + 'static) {
        self.coming += 1;
        let member = Arc::clone(&self.member);
        tokio::spawn(async move { member.tell(news(member.start().await)) });
    }

    /// Lets the engine that runs come to its end, if there is one.
    fn retire(&mut self) {
        if let Some(link) = self.take_running() {
            tokio::spawn(async move { link.retire(FAREWELL).await });
        }
    }

    fn begin_probe(&mut self) {
        let (member, link) = (Arc::clone(&self.member), self.running.clone());
        tokio::spawn(async move {
            let answered = match link {
                // It must let us in anew, too.
                Some(link) => link.check_anew(Instant::now() + PROBE).await.is_ok(),
                None => false,
            };
            member.tell(News::Event(Event::Probed(answered)));
        });
    }

    /// When the HSM is to be called because nobody else has called it.
    fn keepalive_due(&self) -> Option<Instant> {
        let period = Duration::from_millis(self.member.settings.keepalive_ms);
        (self.state.is_well() && !period.is_zero()).then(|| self.kept_alive + period)
    }

    fn begin_keepalive(&mut self) {
        self.kept_alive = Instant::now();
        let (member, link) = (Arc::clone(&self.member), self.running.clone());
        tokio::spawn(async move {
            if let Some(link) = link {
                let _ = member.call(&link, Asker::SERVICE, &Check, Instant::now() + PROBE).await;
            }
        });
    }

    fn look(&mut self) {
        let Some(link) = self.running.clone() else { return };
        if link.silence() > MUTE {
            self.member.note_trouble("its worker process does not speak");
            return self.on(Event::Mute);
        }
        let report = link.report();
        if self.size_when_new == 0 {
            self.size_when_new = report.resident_bytes;
        }
        if link.has_lost_wrapping_key() {
            self.member.note_trouble("its wrapping key is gone");
            return self.on(Event::Keyless);
        }
        if let Some(reason) = self.reason_to_replace(&report)
            && self.state.is_well()
            && self.may_have_successor()
        {
            tracing::warn!(hsm = self.member.name(), reason, "the worker of the HSM is replaced");
            self.successor = Successor::Coming;
            self.bring(News::Successor);
        }
    }

    /// Why an engine that does its work is better replaced.
    fn reason_to_replace(&self, report: &Report) -> Option<&'static str> {
        if report.resident_bytes > self.size_when_new + self.member.settings.growth_bytes {
            return Some("its memory grows");
        }
        (report.gauges.threads_lost >= self.member.settings.sessions.max(1) as u64).then_some("its calls hang")
    }

    fn may_have_successor(&self) -> bool {
        // An engine in this process leaves its stuck threads here whatever replaces it.
        self.member.launch.is_some()
            && match self.successor {
                Successor::None => true,
                Successor::Coming => false,
                Successor::NotBefore(time) => Instant::now() >= time,
            }
    }

    /// The successor takes over, and the predecessor finishes what it has.
    fn succeed(&mut self, outcome: Result<(Link, Profile), HsmError>) {
        match outcome {
            Ok((link, profile)) if self.state.is_well() => {
                let predecessor = self.take_running();
                self.install(link, profile);
                self.successor = Successor::None;
                self.member.restarts.fetch_add(1, Ordering::Relaxed);
                self.member.admit(self.running.clone());
                if let Some(link) = predecessor {
                    tokio::spawn(async move { link.retire(DRAIN).await });
                }
            }
            Ok((link, _)) => {
                self.successor = Successor::None;
                tokio::spawn(async move { link.retire(FAREWELL).await });
            }
            Err(error) => {
                tracing::warn!(hsm = self.member.name(), %error, "the worker of the HSM could not be replaced");
                self.successor = Successor::NotBefore(Instant::now() + AGAIN);
            }
        }
    }
}

async fn ended(link: Option<&Link>) {
    match link {
        Some(link) => link.ended().await,
        None => std::future::pending().await,
    }
}

async fn more_hang(hangs: Option<&mut Hangs>) -> u64 {
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
