//! One HSM of a key store: the engine that serves it, whether calls may go to it, and who brings it back.
//!
//! Calls tell what became of them; [`recovery`] decides; the [`supervisor`](super::supervisor), one task per member, acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{mpsc, watch};

use crate::identity::Asker;
use crate::key::material::{Keeping, Material};

use super::backend::{Backend, EngineReport};
use super::past_counts::PastCounts;
use super::recovery::{self, MemberEvent};
use super::supervisor::{Supervisor, SupervisorMessage};
use crate::hsm::counts::Gauges;
use crate::hsm::engine::command::Command;
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::process::Launch;
use crate::hsm::settings::Settings;

/// One HSM of a key store.
pub(in crate::hsm) struct Member {
    pub(in crate::hsm) settings: Settings,
    launch: Launch,
    /// Where calls go; `None` while they must not.
    open: RwLock<Option<Arc<Backend>>>,
    profile: RwLock<Option<Arc<Profile>>>,
    under_way: AtomicUsize,
    /// True if the last thing that was heard of a call was bad, so that the next good one is news.
    is_suspect: AtomicBool,
    pub(in crate::hsm) restarts: AtomicU64,
    /// The counts of engines that are gone.
    past: Mutex<PastCounts>,
    events: mpsc::UnboundedSender<SupervisorMessage>,
    /// Why calls do not go to it, in words for an operator.
    trouble: Mutex<String>,
    /// Why the last start of its engine failed.
    refusal: Mutex<Option<HsmError>>,
    stopping: watch::Sender<bool>,
    pub(in crate::hsm) stopped: AtomicBool,
}

/// How a member stands, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The member's name.
    pub name: String,
    /// Why calls do not go to it; `None` if they do.
    pub trouble: Option<String>,
    /// Why its engine could not be started, while it cannot.
    pub refusal: Option<HsmError>,
    /// How often its engine was started again.
    pub restarts: u64,
    /// Numbers of this moment.
    pub gauges: Gauges,
}

impl Member {
    /// A member whose engine is started, watched and started again by a task of its own.
    pub(in crate::hsm) fn kept(settings: Settings, launch: Launch) -> Arc<Self> {
        let (member, news) = Self::new(settings, launch);
        tokio::spawn(Supervisor::new(Arc::clone(&member)).keep(news));
        member
    }

    fn new(settings: Settings, launch: Launch) -> (Arc<Self>, mpsc::UnboundedReceiver<SupervisorMessage>) {
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
            stopping: watch::Sender::new(false),
            stopped: AtomicBool::new(false),
        };
        (Arc::new(member), news)
    }

    pub(in crate::hsm) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where calls go, if they may.
    pub(in crate::hsm) fn backend(&self) -> Option<Arc<Backend>> {
        self.open.read().clone()
    }

    /// Calls that are under way to it.
    pub(in crate::hsm) fn load(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Its profile; `None` until it was opened for the first time.
    pub(in crate::hsm) fn profile(&self) -> Option<Arc<Profile>> {
        self.profile.read().clone()
    }

    /// True if it can serve this material: an object on an HSM is on that one only.
    pub(in crate::hsm) fn has(&self, material: &Material) -> bool {
        let is_here = match &material.keeping {
            Keeping::Token { member, .. } => member.as_deref().is_none_or(|member| member == self.name()),
            Keeping::Wrapped { .. } => true,
        };
        is_here && self.profile().is_some_and(|profile| profile.reads(material))
    }

    /// Why the last start of its engine failed, if it did.
    pub(in crate::hsm) fn refusal(&self) -> Option<HsmError> {
        self.refusal.lock().clone()
    }

    pub(in crate::hsm) fn standing(&self) -> Standing {
        let is_away = self.backend().is_none();
        Standing {
            name: self.name().to_owned(),
            trouble: is_away.then(|| self.trouble()),
            refusal: self.refusal().filter(|_| is_away),
            restarts: self.restarts.load(Ordering::Relaxed),
            gauges: self.report().gauges,
        }
    }

    pub(in crate::hsm) fn trouble(&self) -> String {
        self.trouble.lock().clone()
    }

    /// Numbers of this moment; counts go on when an engine takes the place of another.
    pub(in crate::hsm) fn report(&self) -> EngineReport {
        let mut report = self.backend().map(|backend| backend.report()).unwrap_or_default();
        self.past().add_to(&mut report);
        report
    }

    pub(in crate::hsm) fn past(&self) -> MutexGuard<'_, PastCounts> {
        self.past.lock()
    }

    /// Does one command on `backend`, which is this member's.
    pub(in crate::hsm) async fn call<C: Command>(
        &self,
        backend: &Backend,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        self.heard(backend.call(asker, command, deadline)).await
    }

    /// Destroys an object on `backend`, which is this member's, and forgets handles of it.
    pub(in crate::hsm) async fn destroy(
        &self,
        backend: &Backend,
        material: &Arc<Material>,
        deadline: Instant,
    ) -> Result<(), HsmError> {
        self.heard(backend.destroy(material, deadline)).await
    }

    async fn heard<T>(&self, call: impl Future<Output = Result<T, HsmError>>) -> Result<T, HsmError> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _done = Done(&self.under_way);
        let result = call.await;
        self.hear(result.as_ref().err().map(|error| error.kind));
        result
    }

    /// Tells the supervisor what became of a call, if that is news.
    fn hear(&self, failure: Option<Kind>) {
        match recovery::news_of(failure) {
            Some(MemberEvent::Answered) if !self.is_suspect.load(Ordering::Relaxed) => {}
            Some(event) => {
                self.suspect(event != MemberEvent::Answered);
                self.tell(SupervisorMessage::MemberEvent(event));
            }
            None => {}
        }
    }

    /// Notes whether something was heard that speaks against the HSM.
    pub(in crate::hsm) fn suspect(&self, is_suspect: bool) {
        self.is_suspect.store(is_suspect, Ordering::Relaxed);
    }

    pub(in crate::hsm) fn tell(&self, news: SupervisorMessage) {
        // A supervisor that is gone has stopped.
        let _ = self.events.send(news);
    }

    /// Takes no more calls.
    pub(in crate::hsm) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// True if everything of it has ended, after `stop`.
    pub(in crate::hsm) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(in crate::hsm) fn admit(&self, backend: Option<Arc<Backend>>) {
        *self.open.write() = backend;
    }

    pub(in crate::hsm) fn put_profile(&self, profile: Profile) {
        *self.profile.write() = Some(Arc::new(profile));
    }

    pub(in crate::hsm) fn note_trouble(&self, text: impl Into<String>) {
        *self.trouble.lock() = text.into();
    }

    pub(in crate::hsm) fn note_start(&self, refusal: Option<HsmError>) {
        *self.refusal.lock() = refusal;
    }

    pub(in crate::hsm) async fn start(&self) -> Result<(Backend, Profile), HsmError> {
        let known = self.profile();
        Backend::start(&self.settings, &self.launch, known.as_deref(), self.stopping()).await
    }

    /// Ends when the member is to stop.
    pub(in crate::hsm) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        // An error means that the member is gone.
        async move { drop(stopping.wait_for(|stopping| *stopping).await) }
    }
}

struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
