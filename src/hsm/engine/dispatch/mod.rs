//! The dispatch of commands: bounded queues, the threads that own the sessions, and what is done about failures.
//!
//! More work than the HSM can do: askers take turns in each queue and at the anchor; at the bound, the one with more than a
//! fair share loses its newest place; what would not have its turn before its deadline is answered Busy at once. More sessions
//! than the token has: a worker that gets none hands its command on and rests, and gives up its own for the other lanes; the
//! last one answers.
//!
//! A deadline that passed is no strike, for the command may have waited all the time; a C call that does not return is one, and
//! the thread that watches the lanes tells of it.

mod anchor;
mod blame;
mod core;
mod fast_path;
mod job;
mod lane_threads;
mod queue;
mod retry;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use cryptoki::session::Session;
use parking_lot::RwLock;

use crate::hsm::error::HsmError;
use crate::identity::Asker;
use crate::key::material::MaterialId;

use super::command::QueuedCommand;
use super::handles::anchor_request::AnchorRequest;
use super::state::EngineState;
use super::state::counts::Gauges;
use blame::LastCheck;
use core::{Core, OTHER_SESSIONS};
use lane_threads::{AnchorStop, LaneThread, LaneWork, Lifelines};
use queue::Queue;

/// The most that may wait for a lane of one thread, whose commands take up to seconds: more would not have their turn.
const WAITING_FOR_ONE: usize = 128;

/// How long dropping the last handle waits for the threads.
const FAREWELL: Duration = Duration::from_millis(500);

/// An engine that runs: its threads, and the queues in front of them.
pub(in crate::hsm) struct Dispatcher {
    core: Arc<Core>,
    lanes: Vec<Arc<LaneThread>>,
    /// `None` once stopped; the workers end when they have done what was queued.
    queues: RwLock<Option<Queues>>,
    waiting: Arc<Queue>,
    anchor: Sender<AnchorRequest>,
    watch: Thread,
    ended: Receiver<Infallible>,
    last_check: LastCheck,
}

/// The queues into which work is put. When this is dropped, they are closed.
struct Queues {
    work: Arc<Queue>,
    slow: Arc<Queue>,
    writer: Arc<Queue>,
    _anchor_stop: Arc<AnchorStop>,
}

impl Drop for Queues {
    fn drop(&mut self) {
        [&self.work, &self.slow, &self.writer].into_iter().for_each(|queue| queue.close());
    }
}

impl Dispatcher {
    /// Starts the threads; the anchor's has `anchor_session`, which is logged in.
    pub(in crate::hsm) fn start(state: EngineState, anchor_session: Session) -> Result<Self, HsmError> {
        let (anchor, requests) = unbounded();
        let core = Arc::new(Core::new(state, anchor.clone()));
        let sessions = open_sessions(&core)?;
        let limit = core.state.settings.queue.max(1);
        let alone = || Arc::new(Queue::new(limit.min(WAITING_FOR_ONE), 1));
        let work = Arc::clone(&core.work);
        let slow = alone();
        let writer = alone();
        let anchor_stop = Arc::new(AnchorStop(anchor.clone()));
        let waiting = Arc::clone(&work);
        let single = [("hsm-slow", Arc::clone(&slow)), ("hsm-writer", Arc::clone(&writer))];
        let queues = Queues { work, slow, writer, _anchor_stop: Arc::clone(&anchor_stop) };
        let (alive, ended) = bounded(0);
        let lifelines = Lifelines { anchor_stop, alive };

        let mut lanes = vec![LaneThread::new("hsm-anchor", LaneWork::Anchor(requests))];
        lanes[0].spawn(&core, &lifelines, Some(anchor_session))?;
        for (name, jobs) in single {
            let lane = LaneThread::new(name, LaneWork::Alone(jobs));
            lane.spawn(&core, &lifelines, None)?;
            lanes.push(lane);
        }
        for (number, session) in sessions.into_iter().enumerate() {
            let lane = LaneThread::new(format!("hsm-{number}"), LaneWork::Work(Arc::clone(&waiting), number));
            if session.is_none() {
                waiting.retire(number);
                lane.note_session(false);
            }
            lane.spawn(&core, &lifelines, session)?;
            lanes.push(lane);
        }
        let watch = lane_threads::watch(Arc::clone(&core), lifelines, lanes.clone())?;
        let queues = RwLock::new(Some(queues));
        Ok(Self { core, lanes, queues, waiting, anchor, watch, ended, last_check: LastCheck::default() })
    }

    /// Brings a command to its end by the deadline; what has not ended then comes to nothing.
    pub(in crate::hsm) async fn perform(&self, asker: Asker, command: Box<dyn QueuedCommand>, deadline: Instant) {
        if let Err(refusal) = self.admit(deadline) {
            return command.end(Err(refusal));
        }
        if tokio::time::timeout_at(deadline.into(), self.attempts(asker, command, deadline)).await.is_err() {
            // If a call is stuck, its thread is replaced now rather than at the next look.
            self.watch.unpark();
        }
    }

    /// Refuses what comes too late.
    fn admit(&self, deadline: Instant) -> Result<(), HsmError> {
        match (deadline <= Instant::now(), self.core.state.stopping.load(Ordering::Relaxed)) {
            (true, _) => Err(HsmError::timeout()),
            (false, true) => Err(HsmError::stopped()),
            (false, false) => Ok(()),
        }
    }

    /// Logs in on a new session and takes no handle of before for good any more: an HSM that was away may have other objects
    /// under the old numbers.
    pub(in crate::hsm) async fn renew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.admit(deadline)?;
        let renewed = tokio::time::timeout_at(deadline.into(), self.log_in_anew(deadline)).await;
        renewed.unwrap_or_else(|_| {
            self.watch.unpark();
            Err(HsmError::timeout())
        })
    }

    /// The state that its threads share.
    pub(in crate::hsm) fn state(&self) -> &EngineState {
        &self.core.state
    }

    /// Forgets the handles of this material.
    pub(in crate::hsm) fn forget(&self, material: MaterialId) {
        self.core.handles.forget(material);
    }

    /// Numbers of this moment.
    pub(in crate::hsm) fn gauges(&self) -> Gauges {
        let counts = &self.core.state.counts;
        let workers = || self.lanes.iter().filter(|lane| lane.is_worker());
        Gauges {
            queue_depth: self.waiting.len(),
            sessions: workers().filter(|lane| !lane.lacks_session()).count(),
            sessions_busy: workers().filter(|lane| lane.is_busy()).count(),
            threads_replaced: *counts.replaced.borrow(),
            cached_handles: self.core.handles.len(),
            calls_late: counts.late.load(Ordering::Relaxed),
            threads_lost: counts.lost.load(Ordering::Relaxed),
        }
    }

    pub(in crate::hsm) fn stop(&self) {
        self.core.state.stopping.store(true, Ordering::Relaxed);
        self.watch.unpark();
        self.core.handles.reset();
        drop(self.queues.write().take());
    }

    pub(in crate::hsm) fn wait(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Gives the threads a moment to leave the module, because what comes next is often the end of the process.
impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.stop();
        self.wait(FAREWELL);
    }
}

/// A session for each worker, as far as the token has them. When it refuses the next one, some are closed again: the other
/// lanes need theirs, too.
fn open_sessions(core: &Core) -> Result<Vec<Option<Session>>, HsmError> {
    let workers = core.work.workers();
    let mut sessions = Vec::new();
    while sessions.len() < workers {
        match core.state.open_session() {
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
