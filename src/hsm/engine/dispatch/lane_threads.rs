//! Threads that own sessions, the queues in front of them, and the watch over calls that do not return.
//!
//! A C call cannot be cancelled. One that outlives its deadline costs its caller an error at once and, if it goes on and on,
//! the engine a thread: the watch bumps the lane's generation and starts another thread with another session. When the stuck call returns after all,
//! its thread sees that it has been replaced, closes its session and ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use cryptoki::session::Session;

use crate::hsm::engine::handles::anchor_request::AnchorRequest;
use crate::hsm::error::HsmError;

use super::anchor;
use super::core::Core;
use super::queue::Queue;
use super::worker;

/// A call is not given up before it has lasted this long, however near its deadline it began: under load, calls begin late,
/// and giving threads up would make it worse.
const WORK_PATIENCE: Duration = Duration::from_millis(250);

/// The same for the anchor, whose replacement costs all handles.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(2);

/// The same for the lanes where a call may take this long by right: RSA-4096 generation takes seconds on a fast HSM.
const SLOW_PATIENCE: Duration = Duration::from_secs(30);

/// How often the watch looks when nobody calls it.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// One place at the HSM: a session, and the thread that has it for now.
pub(in crate::hsm) struct LaneThread {
    name: String,
    duty: LaneWork,
    generation: AtomicU64,
    /// When the call that is being made is to be given up, in ticks; 0 while there is none.
    busy_until: AtomicU64,
    /// True if the token had no session for it when it was last asked, or it has given its own up.
    lacks_session: AtomicBool,
    /// True if it has no thread, because the last one was given up.
    is_deserted: AtomicBool,
}

/// The work of a lane's thread.
pub(in crate::hsm) enum LaneWork {
    /// One of the workers that share a queue, by its number there.
    Work(Arc<Queue>, usize),
    /// The only one of its kind.
    Alone(Arc<Queue>),
    Anchor(Receiver<AnchorRequest>),
}

/// The generation of the lane in which a thread was started.
#[derive(Clone, Copy)]
pub(in crate::hsm) struct Generation(u64);

/// Held by everyone who may use a handle; the anchor is told to stop when the last lets go.
pub(in crate::hsm) struct AnchorStop(pub(in crate::hsm) Sender<AnchorRequest>);

impl Drop for AnchorStop {
    fn drop(&mut self) {
        let _ = self.0.send(AnchorRequest::Stop);
    }
}

/// Held by every thread of an engine for as long as it lives.
#[derive(Clone)]
pub(in crate::hsm) struct Lifelines {
    pub(in crate::hsm) anchor_stop: Arc<AnchorStop>,
    /// Nothing is sent: the other end sees when the last thread has closed its session and ended.
    pub(in crate::hsm) alive: Sender<Infallible>,
}

impl LaneThread {
    pub(in crate::hsm) fn new(name: impl Into<String>, duty: LaneWork) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            duty,
            generation: AtomicU64::new(0),
            busy_until: AtomicU64::new(0),
            lacks_session: AtomicBool::new(false),
            is_deserted: AtomicBool::new(false),
        })
    }

    /// A call begins.
    pub(in crate::hsm) fn begin(&self, core: &Core, now: Instant, deadline: Instant) {
        let patience = match self.duty {
            LaneWork::Work(..) => WORK_PATIENCE,
            LaneWork::Anchor(_) => ANCHOR_PATIENCE,
            LaneWork::Alone(_) => SLOW_PATIENCE,
        };
        self.busy_until.store(core.state.ticks(deadline.max(now + patience)), Ordering::Release);
    }

    /// The call has ended. Whether the thread may go on: it may have been replaced meanwhile.
    pub(in crate::hsm) fn end(&self, core: &Core, generation: Generation) -> bool {
        if self.generation.load(Ordering::Acquire) != generation.0 {
            core.state.counts.lost.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.busy_until.store(0, Ordering::Release);
        true
    }

    /// Waits for something that is not the HSM's to give, which the watch must not take for a call.
    pub(in crate::hsm) fn aside<T>(
        &self,
        core: &Core,
        generation: Generation,
        deadline: Instant,
        wait: impl FnOnce() -> T,
    ) -> T {
        let is_ours = || self.generation.load(Ordering::Acquire) == generation.0;
        if is_ours() {
            self.busy_until.store(0, Ordering::Release);
        }
        let waited = wait();
        if is_ours() {
            self.begin(core, Instant::now(), deadline);
        }
        waited
    }

    pub(in crate::hsm) fn is_busy(&self) -> bool {
        self.busy_until.load(Ordering::Relaxed) != 0
    }

    pub(in crate::hsm) fn note_session(&self, had: bool) {
        self.lacks_session.store(!had, Ordering::Relaxed);
    }

    pub(in crate::hsm) fn lacks_session(&self) -> bool {
        self.lacks_session.load(Ordering::Relaxed)
    }

    pub(in crate::hsm) fn is_worker(&self) -> bool {
        matches!(self.duty, LaneWork::Work(..))
    }

    /// Looks after what waits for the workers of this lane.
    fn nudge(&self) {
        if let LaneWork::Work(queue, _) = &self.duty {
            queue.nudge();
        }
    }

    fn is_overdue(&self, now: u64) -> bool {
        let until = self.busy_until.load(Ordering::Acquire);
        until != 0 && until < now
    }

    /// Starts the thread of this lane; without a session it opens its own when it needs one.
    pub(in crate::hsm) fn spawn(
        self: &Arc<Self>,
        core: &Arc<Core>,
        lifelines: &Lifelines,
        session: Option<Session>,
    ) -> Result<(), HsmError> {
        let generation = Generation(self.generation.load(Ordering::Acquire));
        let (lane, core, Lifelines { anchor_stop, alive }) = (Arc::clone(self), Arc::clone(core), lifelines.clone());
        let run = move || {
            match &lane.duty {
                LaneWork::Work(queue, worker) => {
                    worker::serve(&core, &lane, generation, (queue, *worker), session);
                    drop(anchor_stop);
                }
                LaneWork::Alone(queue) => {
                    worker::serve(&core, &lane, generation, (queue, 0), session);
                    drop(anchor_stop);
                }
                LaneWork::Anchor(requests) => {
                    // The anchor outlives those who use handles, and must not wait for itself.
                    drop(anchor_stop);
                    anchor::serve(&core, &lane, generation, requests, session);
                }
            }
            drop(alive);
        };
        let started = thread::Builder::new().name(self.name.clone()).spawn(run);
        started.map(|_| ()).map_err(|error| HsmError::misconfigured("spawn", error.to_string()))
    }

    /// Gives up the thread, whose call does not return.
    fn give_up(&self, core: &Core) {
        let counts = &core.state.counts;
        if counts.lost.load(Ordering::Relaxed) >= 4 * core.state.settings.sessions.max(1) as u64 {
            return;
        }
        tracing::error!(lane = self.name, "a call to the HSM does not return; its thread is given up");
        counts.lost.fetch_add(1, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.busy_until.store(0, Ordering::Release);
        counts.replaced.send_modify(|replaced| *replaced += 1);
        if let LaneWork::Anchor(_) = self.duty {
            core.end_epoch();
        }
        self.is_deserted.store(true, Ordering::Relaxed);
    }

    /// Starts another thread if the last one was given up. One that cannot be started now is started later.
    fn replace_lost(self: &Arc<Self>, core: &Arc<Core>, lifelines: &Lifelines) {
        if !self.is_deserted.load(Ordering::Relaxed) {
            return;
        }
        match self.spawn(core, lifelines, None) {
            Ok(()) => self.is_deserted.store(false, Ordering::Relaxed),
            Err(error) => tracing::error!(lane = self.name, %error, "no thread could be started"),
        }
    }
}

/// Looks after calls that do not return, until the engine stops.
pub(in crate::hsm) fn watch(
    core: Arc<Core>,
    lifelines: Lifelines,
    lanes: Vec<Arc<LaneThread>>,
) -> Result<thread::Thread, HsmError> {
    let run = move || {
        while !core.state.stopping.load(Ordering::Relaxed) {
            thread::park_timeout(WATCH_PERIOD);
            let now = core.state.ticks(Instant::now());
            lanes.iter().filter(|lane| lane.is_overdue(now)).for_each(|lane| lane.give_up(&core));
            lanes.iter().for_each(|lane| lane.replace_lost(&core, &lifelines));
            lanes.iter().find(|lane| lane.is_worker()).into_iter().for_each(|lane| lane.nudge());
        }
    };
    let started = thread::Builder::new().name("hsm-watch".to_owned()).spawn(run);
    started.map(|watch| watch.thread().clone()).map_err(|error| HsmError::misconfigured("spawn", error.to_string()))
}
