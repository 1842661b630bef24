//! One HSM, as one process uses it: a module, a token, a login, sessions.
//!
//! ```text
//! Engine::call(Command, deadline)
//!   handles   is the key in the HSM already? else the anchor unwraps or finds it        handles, anchor
//!   queue     bounded; askers take turns; full, or too long, is an answer (Busy)           queue, turns, pool
//!   worker    a thread that owns a session makes the C calls          worker, crypto, signing, agreement, objects, raw
//!             and sees that the HSM answers right                                        proof
//!   answer    or a failure: mended and tried once more, or judged                        road, doubt, error
//! ```
//!
//! Rules that hold everywhere in here:
//! * A session belongs to one thread. No C call is made in a future, and none on a runtime thread.
//! * A session whose call did not end in a known way is closed, not used again.
//! * The caller's data is blamed only when the HSM is known to be well.
//! * A wrong PIN is tried once.

mod agreement;
mod anchor;
mod capability;
pub mod command;
mod core;
mod crypto;
mod doubt;
mod generating;
mod handles;
mod home;
mod importing;
pub(super) mod joining;
mod mechanism;
mod oaep;
mod objects;
mod pairs;
mod pairwise;
mod pool;
mod post;
mod proof;
mod public_key;
mod queue;
mod raw;
mod refusal;
mod road;
mod round_trips;
mod signing;
mod slots;
mod templates;
mod token;
mod trials;
mod trust;
mod uri;
mod worker;
mod wrapping;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use cryptoki::session::Session;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::{Keeping, Material, MaterialId};

use anchor::Errand;
use command::{Command, Destroy, Task, task};
use core::{Core, FIRST_EPOCH, OTHER_SESSIONS, Standing};
use crypto::Line;
use doubt::LastCheck;
use handles::Handles;
use home::Home;
use pool::{Crew, Duty, Lane, LastOut};
use queue::Queue;
use token::{Admission, Module};

pub use capability::{Feature, IvMaker, OaepRoad, Outcome, Profile, TokenFacts, probe};
pub use raw::end_process;
pub use token::{TokenSelector, init_token};
pub(super) use token::{init_token_of, see, so_name};
pub use wrapping::{Leaves, WrappingKeyReport, init_wrapping_key};
pub(super) use wrapping::{look, make as make_wrapping_key};

/// The most that may wait for a lane of one thread, whose commands take up to seconds: more would not have their turn.
const WAITING_FOR_ONE: usize = 128;

/// How long dropping the last handle waits for the threads.
const FAREWELL: Duration = Duration::from_millis(500);

/// The HSM, as everyone holds it. Clones are the same HSM; with the last one the engine stops, and
/// dropping that one waits a moment for the threads to close their sessions.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    lanes: Vec<Arc<Lane>>,
    /// `None` once stopped; the workers end when they have done what was queued.
    doors: RwLock<Option<Doors>>,
    waiting: Arc<Queue>,
    anchor: Sender<Errand>,
    watch: Thread,
    ended: Receiver<Infallible>,
    last_check: LastCheck,
}

/// The queues into which work is put. When this is dropped, they are closed.
struct Doors {
    work: Arc<Queue>,
    slow: Arc<Queue>,
    writer: Arc<Queue>,
    _last_out: Arc<LastOut>,
}

impl Drop for Doors {
    fn drop(&mut self) {
        [&self.work, &self.slow, &self.writer].into_iter().for_each(|queue| queue.close());
    }
}

/// Numbers of this moment, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// Commands that wait for a worker.
    pub queue_depth: usize,
    /// Sessions that do commands: fewer than workers while the token has none left for all of them.
    pub sessions: usize,
    /// Those of them that are in a call.
    pub sessions_busy: usize,
    /// Threads that were given up because a call did not return, since the start.
    pub threads_replaced: u64,
    /// Handles in the cache.
    pub cached_handles: usize,
    /// Calls that ended after their deadline, since the start.
    pub calls_late: u64,
    /// Threads that were given up and are still in their calls.
    pub threads_lost: u64,
}

impl Gauges {
    /// The numbers of two engines together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            queue_depth: self.queue_depth + other.queue_depth,
            sessions: self.sessions + other.sessions,
            sessions_busy: self.sessions_busy + other.sessions_busy,
            threads_replaced: self.threads_replaced + other.threads_replaced,
            cached_handles: self.cached_handles + other.cached_handles,
            calls_late: self.calls_late + other.calls_late,
            threads_lost: self.threads_lost + other.threads_lost,
        }
    }
}

/// How often a function answered a code, since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The PKCS#11 function.
    pub function: String,
    /// The code by its name in the standard.
    pub code: String,
    /// How often.
    pub count: u64,
}

impl Engine {
    /// Loads the module, finds the token, logs in once, tries what the HSM can do and starts the threads. Blocks while it
    /// does so; the wrapping key may be absent.
    pub fn start(settings: Settings) -> Result<Self, HsmError> {
        Self::start_knowing(settings, None)
    }

    /// As [`Self::start`]; what this very HSM, firmware and module could do before is not tried again.
    pub(super) fn start_knowing(settings: Settings, known: Option<Profile>) -> Result<Self, HsmError> {
        // Before the module is loaded: a PIN that was refused costs nothing.
        let mut admission = Admission::ask(&settings)?;
        let module = Module::of(&settings)?;
        let (slot, home, standing, profile) = {
            let _alone = module.setting_up();
            let token = settings.token.find(&module)?;
            let slot = token.slot;
            let session = module.open(slot)?;
            token::log_in(&module, slot, &session, &settings, &mut admission)?;
            drop(admission);
            let line = Line { calls: &module.calls, session: &session };
            let open = || module.open_another(slot);
            let profile = Profile::of(line, &open, &token, settings.allow_raw_rsa, known)?.that_serves()?;
            let home = Home::new(session, FIRST_EPOCH);
            let standing = Standing::take(&home, &module, &settings, profile.allowed)?;
            (slot, home, standing, profile)
        };
        let (anchor, errands) = unbounded();
        let handles = Handles::new(settings.cached_handles, anchor.clone());
        let core = Arc::new(Core::new(settings, module, slot, profile, handles, standing));
        let inner = Inner::start(core, anchor, errands, home.session)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Does one command for the service itself, or says why not, by the deadline.
    pub async fn call<C: Command>(&self, command: C, deadline: Instant) -> Result<C::Answer, HsmError> {
        self.call_for(Asker::SERVICE, command, deadline).await
    }

    /// Does one command for `asker`, or says why not, by the deadline.
    pub async fn call_for<C: Command>(
        &self,
        asker: Asker,
        command: C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        let (done, mut answer) = oneshot::channel();
        self.perform(asker, task(command, |result| drop(done.send(result))), deadline).await;
        answer.try_recv().unwrap_or_else(|_| Err(HsmError::timeout()))
    }

    /// Brings a command to its end by the deadline; what has not ended then comes to nothing.
    async fn perform(&self, asker: Asker, task: Box<dyn Task>, deadline: Instant) {
        if let Err(refusal) = self.admit(deadline) {
            return task.end(Err(refusal));
        }
        if tokio::time::timeout_at(deadline.into(), self.attempts(asker, task, deadline)).await.is_err() {
            // If a call is stuck, its thread is replaced now rather than at the next look.
            self.inner.watch.unpark();
        }
    }

    /// Refuses what comes too late.
    fn admit(&self, deadline: Instant) -> Result<(), HsmError> {
        match (deadline <= Instant::now(), self.core().stopping.load(Ordering::Relaxed)) {
            (true, _) => Err(HsmError::timeout()),
            (false, true) => Err(HsmError::stopped()),
            (false, false) => Ok(()),
        }
    }

    /// Logs in on a new session and takes no handle of before for good any more: an HSM that was away may have other objects
    /// under the old numbers.
    pub async fn renew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.admit(deadline)?;
        let renewed = tokio::time::timeout_at(deadline.into(), self.log_in_anew(deadline)).await;
        renewed.unwrap_or_else(|_| {
            self.inner.watch.unpark();
            Err(HsmError::timeout())
        })
    }

    /// Destroys the token object of this material, if it has one, and forgets its handles.
    pub async fn destroy(&self, material: &Arc<Material>, deadline: Instant) -> Result<(), HsmError> {
        match &material.keeping {
            Keeping::Token { .. } => self.call(Destroy { material: Arc::clone(material) }, deadline).await,
            Keeping::Wrapped { .. } => {
                self.forget(material.id);
                Ok(())
            }
        }
    }

    /// Forgets the handles of this material. Of what is wrapped the HSM keeps nothing else.
    pub(super) fn forget(&self, material: MaterialId) {
        self.core().handles.forget(material);
    }

    /// What this HSM can do.
    pub fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.core().profile)
    }

    /// Numbers of this moment.
    pub fn gauges(&self) -> Gauges {
        let counts = &self.core().counts;
        let workers = || self.inner.lanes.iter().filter(|lane| lane.is_worker());
        Gauges {
            queue_depth: self.inner.waiting.len(),
            sessions: workers().filter(|lane| !lane.lacks_session()).count(),
            sessions_busy: workers().filter(|lane| lane.is_busy()).count(),
            threads_replaced: *counts.replaced.borrow(),
            cached_handles: self.core().handles.len(),
            calls_late: counts.late.load(Ordering::Relaxed),
            threads_lost: counts.lost.load(Ordering::Relaxed),
        }
    }

    /// Every code but CKR_OK that the HSM has answered to a command, and how often.
    pub fn errors(&self) -> Vec<ErrorCount> {
        self.core().counts.errors()
    }

    /// How many calls have not returned so far, so that their threads were given up: what there is to say against the HSM that
    /// no call answers.
    pub(super) fn hangs(&self) -> watch::Receiver<u64> {
        self.core().counts.replaced.subscribe()
    }

    /// Whether the wrapping key is there, without which nothing can be wrapped or unwrapped.
    pub fn has_wrapping_key(&self) -> bool {
        self.core().has_wrapping_key()
    }

    /// Whether the wrapping key is not there and should be.
    pub(super) fn lacks_wrapping_key(&self) -> bool {
        self.core().settings.holds_wrapping_key && !self.has_wrapping_key()
    }

    /// Itself, if it lacks no wrapping key.
    pub(super) fn with_wrapping_key(self) -> Result<Self, HsmError> {
        match self.lacks_wrapping_key() {
            false => Ok(self),
            true => Err(wrapping::no_key(&self.core().settings.wrapping_key_label)),
        }
    }

    /// Takes no more work. Threads end when they have done what they have; nobody waits for one that hangs.
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Waits, after `stop`, until every thread has closed its session; false if one has not by then, which is how a call
    /// that hangs looks. A process that exits while a thread is in the module may crash in the module's destructors.
    pub fn wait_until_stopped(&self, timeout: Duration) -> bool {
        self.inner.wait(timeout)
    }

    fn core(&self) -> &Core {
        &self.inner.core
    }

    fn last_check(&self) -> &LastCheck {
        &self.inner.last_check
    }
}

impl Inner {
    fn start(
        core: Arc<Core>,
        anchor: Sender<Errand>,
        errands: Receiver<Errand>,
        anchor_session: Session,
    ) -> Result<Self, HsmError> {
        let sessions = open_sessions(&core)?;
        let limit = core.settings.queue.max(1);
        let alone = || Arc::new(Queue::new(limit.min(WAITING_FOR_ONE), 1));
        let (work, slow, writer) = (Arc::clone(&core.work), alone(), alone());
        let last_out = Arc::new(LastOut(anchor.clone()));
        let (waiting, queues) = (Arc::clone(&work), [Arc::clone(&slow), Arc::clone(&writer)]);
        let doors = Doors { work, slow, writer, _last_out: Arc::clone(&last_out) };
        let (alive, ended) = bounded(0);
        let crew = Crew { last_out, alive };

        let mut lanes = vec![Lane::new("hsm-anchor", Duty::Anchor(errands))];
        lanes[0].spawn(&core, &crew, Some(anchor_session))?;
        for (name, jobs) in ["hsm-slow", "hsm-writer"].into_iter().zip(queues) {
            let lane = Lane::new(name, Duty::Alone(jobs));
            lane.spawn(&core, &crew, None)?;
            lanes.push(lane);
        }
        for (number, session) in sessions.into_iter().enumerate() {
            let lane = Lane::new(format!("hsm-{number}"), Duty::Work(Arc::clone(&waiting), number));
            if session.is_none() {
                waiting.retire(number);
                lane.note_session(false);
            }
            lane.spawn(&core, &crew, session)?;
            lanes.push(lane);
        }
        let watch = pool::watch(Arc::clone(&core), crew, lanes.clone())?;
        let doors = RwLock::new(Some(doors));
        Ok(Self { core, lanes, doors, waiting, anchor, watch, ended, last_check: LastCheck::default() })
    }

    fn stop(&self) {
        self.core.stopping.store(true, Ordering::Relaxed);
        self.watch.unpark();
        self.core.handles.reset();
        drop(self.doors.write().take());
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Gives the threads a moment to leave the module, because what comes next is often the end of the process.
impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
        self.wait(FAREWELL);
    }
}

/// A session for each worker, as far as the token has them. When it refuses the next one, some are closed again: the other
/// lanes need theirs, too.
fn open_sessions(core: &Core) -> Result<Vec<Option<Session>>, HsmError> {
    let workers = core.work.seats();
    let mut sessions = Vec::new();
    while sessions.len() < workers {
        match core.open_session() {
            Ok(session) => sessions.push(Some(session)),
            Err(error) if sessions.is_empty() => return Err(error),
            Err(_) => {
                // The anchor has its own already.
                sessions.truncate(sessions.len().saturating_sub(OTHER_SESSIONS - 1).max(1));
                break;
            }
        }
    }
    sessions.resize_with(workers, || None);
    Ok(sessions)
}
