//! One HSM of a key store: the engine that serves it, whether calls may go to it, and who brings it back.
//!
//! Calls tell what became of them; [`recovery`] decides; the keeper, one task per member, acts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use crate::key::material::{Keeping, Material};

use super::command::{Answer, Asker, Command};
use super::engine::{Engine, ErrorCount, Profile};
use super::error::{HsmError, Kind};
use super::link::{FAREWELL, Launch, Link};
use super::recovery::{self, Act, Event, State};
use super::settings::Settings;
use super::wire::Report;

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

/// One HSM of a key store.
pub(super) struct Member {
    settings: Settings,
    launch: Option<Launch>,
    /// Where calls go; `None` while they must not.
    open: RwLock<Option<Arc<Link>>>,
    profile: RwLock<Option<Arc<Profile>>>,
    under_way: AtomicUsize,
    /// Whether the last thing that was heard of a call was bad, so that the next good one is news.
    is_suspect: AtomicBool,
    restarts: AtomicU64,
    /// What engines that are gone have counted.
    past: Mutex<Counted>,
    events: mpsc::UnboundedSender<News>,
    /// Why calls do not go to it, in words for an operator.
    trouble: Mutex<String>,
    /// Why the last start of its engine failed.
    refusal: Mutex<Option<HsmError>>,
    stopping: Notify,
    stopped: AtomicBool,
}

/// What the keeper is told.
enum News {
    Event(Event),
    /// An engine was started, for the first time or anew.
    Started(Result<(Link, Profile), HsmError>),
    /// An engine to take the place of one that is well.
    Successor(Result<(Link, Profile), HsmError>),
}

/// How a member stands, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The member's name.
    pub name: String,
    /// Why calls do not go to it; `None` if they do.
    pub trouble: Option<String>,
    /// How often its engine was started again.
    pub restarts: u64,
}

impl Member {
    /// A member whose engine is started, watched and started again by a task of its own.
    pub(super) fn kept(settings: Settings, launch: Option<Launch>) -> Arc<Self> {
        let (member, news) = Self::new(settings, launch);
        tokio::spawn(Keeper::new(Arc::clone(&member)).keep(news));
        member
    }

    /// A member whose engine runs in this process and is looked after by nobody.
    pub(super) fn unkept(settings: Settings, engine: Engine) -> Arc<Self> {
        let (member, _) = Self::new(settings, None);
        member.put_profile(Profile::clone(&engine.profile()));
        member.admit(Some(Arc::new(Link::Here(engine))));
        member
    }

    fn new(settings: Settings, launch: Option<Launch>) -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let (events, news) = mpsc::unbounded_channel();
        let member = Self {
            settings,
            launch,
            open: RwLock::default(),
            profile: RwLock::default(),
            under_way: AtomicUsize::new(0),
            is_suspect: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            past: Mutex::default(),
            events,
            trouble: Mutex::new("it is being opened".to_owned()),
            refusal: Mutex::default(),
            stopping: Notify::new(),
            stopped: AtomicBool::new(false),
        };
        (Arc::new(member), news)
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where calls go, if they may.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls that are under way to it.
    pub(super) fn load(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// What it can do; `None` until it was opened for the first time.
    pub(super) fn profile(&self) -> Option<Arc<Profile>> {
        self.profile.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it can serve this material: an object on an HSM is on that one only.
    pub(super) fn has(&self, material: &Material) -> bool {
        let is_here = match &material.keeping {
            Keeping::Token { member, .. } => member.as_deref().is_none_or(|member| member == self.name()),
            Keeping::Wrapped { .. } => true,
        };
        is_here && self.profile().is_some_and(|profile| profile.reads(material))
    }

    /// Why the last start of its engine failed, if it did.
    pub(super) fn refusal(&self) -> Option<HsmError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn standing(&self) -> Standing {
        let trouble = self.link().is_none().then(|| self.trouble());
        Standing { name: self.name().to_owned(), trouble, restarts: self.restarts.load(Ordering::Relaxed) }
    }

    fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Numbers of this moment; counts go on when an engine takes the place of another.
    pub(super) fn report(&self) -> Report {
        let mut report = self.link().map(|link| link.report()).unwrap_or_default();
        self.past().add_to(&mut report);
        report
    }

    fn past(&self) -> MutexGuard<'_, Counted> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one command on `link`, which is this member's.
    pub(super) async fn call(
        &self,
        link: &Link,
        asker: Asker,
        command: &Command,
        deadline: Instant,
    ) -> Result<Answer, HsmError> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _done = Done(&self.under_way);
        let result = link.call(asker, command, deadline).await;
        self.hear(result.as_ref().err().map(|error| error.kind));
        result
    }

    /// Tells the keeper what became of a call, if that is news.
    fn hear(&self, failure: Option<Kind>) {
        match failure.filter(|kind| recovery::is_strike(*kind)) {
            Some(kind) => {
                self.is_suspect.store(true, Ordering::Relaxed);
                self.tell(News::Event(Event::Failed(kind)));
            }
            None if self.is_suspect.load(Ordering::Relaxed) => {
                self.is_suspect.store(false, Ordering::Relaxed);
                self.tell(News::Event(Event::Answered));
            }
            None => {}
        }
    }

    fn tell(&self, news: News) {
        // A keeper that is gone has stopped.
        let _ = self.events.send(news);
    }

    /// Takes no more calls.
    pub(super) fn stop(&self) {
        self.stopping.notify_one();
        if let Some(Link::Here(engine)) = self.link().as_deref() {
            engine.stop();
        }
    }

    /// Whether everything of it has ended, after `stop`.
    pub(super) fn has_stopped(&self) -> bool {
        match self.link().as_deref() {
            Some(Link::Here(engine)) => engine.wait_until_stopped(Duration::ZERO),
            _ => self.stopped.load(Ordering::Acquire),
        }
    }

    fn admit(&self, link: Option<Arc<Link>>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    fn put_profile(&self, profile: Profile) {
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(profile));
    }

    fn note_trouble(&self, text: impl Into<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn note_start(&self, refusal: Option<HsmError>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    async fn start(&self) -> Result<(Link, Profile), HsmError> {
        Link::start(&self.settings, self.launch.as_ref(), self.profile().as_deref()).await
    }
}

struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who acts for a member.
struct Keeper {
    member: Arc<Member>,
    state: State,
    /// The engine that runs, also while no calls go to it.
    running: Option<Arc<Link>>,
    /// Memory of its process when it was new; 0 until it is known.
    size_when_new: u64,
    /// Whether a successor is being started, and until when none is to be.
    successor: Successor,
    /// When the HSM was last called to keep it from closing sessions.
    kept_alive: Instant,
}

enum Successor {
    None,
    Coming,
    NotBefore(Instant),
}

impl Keeper {
    fn new(member: Arc<Member>) -> Self {
        let state = State::Starting { failures: 0 };
        Self { member, state, running: None, size_when_new: 0, successor: Successor::None, kept_alive: Instant::now() }
    }

    async fn keep(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        self.begin_start();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            let running = self.running.clone();
            let due = self.state.due();
            tokio::select! {
                () = self.member.stopping.notified() => break,
                Some(news) = news.recv() => self.take(news),
                () = ended(running.as_deref()) => self.lose(),
                () = until(due) => self.on(Event::Due),
                _ = looks.tick() => self.look(),
                () = until(self.keepalive_due()) => self.begin_keepalive(),
            }
        }
        self.member.admit(None);
        self.member.note_trouble("the service is stopping");
        if let Some(link) = self.running.take() {
            link.retire(FAREWELL).await;
        }
        self.member.stopped.store(true, Ordering::Release);
    }

    fn take(&mut self, news: News) {
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
        self.member.past().keep(&link.report());
        Some(link)
    }

    fn install(&mut self, link: Link, profile: Profile) {
        self.member.put_profile(profile);
        self.size_when_new = 0;
        self.running = Some(Arc::new(link));
    }

    /// The process of the engine has ended by itself.
    fn lose(&mut self) {
        self.take_running();
        self.member.note_trouble("its worker process has ended");
        self.on(Event::Ended);
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
    fn log(&self, before: State, event: Event) {
        let hsm = self.member.name();
        match (before.is_well(), self.state.is_well()) {
            (false, true) => tracing::info!(hsm, "the HSM is well; calls go to it"),
            (true, false) => {
                if let Event::Failed(kind) = event {
                    self.member.note_trouble(format!("calls to it fail ({kind:?})"));
                }
                tracing::warn!(hsm, trouble = self.member.trouble(), "no calls go to the HSM until it is well again");
            }
            (false, false) => {
                if let Event::NotStarted(kind) = event {
                    tracing::warn!(
                        hsm,
                        ?kind,
                        trouble = self.member.trouble(),
                        "the HSM cannot be opened; it is tried again"
                    );
                }
            }
            (true, true) => {}
        }
    }

    fn begin_start(&mut self) {
        self.retire();
        let member = Arc::clone(&self.member);
        tokio::spawn(async move { member.tell(News::Started(member.start().await)) });
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
                Some(link) => is_well_again(&link).await,
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
                let _ = member.call(&link, Asker::SERVICE, &Command::Check, Instant::now() + PROBE).await;
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
            let member = Arc::clone(&self.member);
            tokio::spawn(async move { member.tell(News::Successor(member.start().await)) });
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

/// Counts since the start of the service.
#[derive(Default)]
struct Counted {
    errors: BTreeMap<(String, String), u64>,
    threads_replaced: u64,
    calls_late: u64,
}

impl Counted {
    /// Keeps what an engine has counted that is gone now.
    fn keep(&mut self, report: &Report) {
        for ErrorCount { function, code, count } in &report.errors {
            *self.errors.entry((function.clone(), code.clone())).or_default() += count;
        }
        self.threads_replaced += report.gauges.threads_replaced;
        self.calls_late += report.gauges.calls_late;
    }

    fn add_to(&self, report: &mut Report) {
        let mut all = Self::default();
        all.keep(report);
        for (pair, count) in &self.errors {
            *all.errors.entry(pair.clone()).or_default() += count;
        }
        let counts = all.errors.into_iter();
        report.errors = counts.map(|((function, code), count)| ErrorCount { function, code, count }).collect();
        report.gauges.threads_replaced += self.threads_replaced;
        report.gauges.calls_late += self.calls_late;
    }
}

/// Whether the HSM lets us in anew and gives the known answer.
async fn is_well_again(link: &Link) -> bool {
    let deadline = Instant::now() + PROBE;
    for command in [Command::Renew, Command::Check] {
        if link.call(Asker::SERVICE, &command, deadline).await.is_err() {
            return false;
        }
    }
    true
}

async fn ended(link: Option<&Link>) {
    match link {
        Some(link) => link.ended().await,
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
