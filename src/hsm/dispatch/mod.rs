//! The dispatch of commands to the worker process of one HSM: handles, queues, deadlines, and what is done about failures.
//!
//! ```text
//! Dispatcher::call(command, deadline)
//!   handles     is the key in the HSM already? else the anchor loads it                 handles, lease, loading
//!   queue       bounded; askers take turns; full, or too late, is an answer (Busy)      lane_queue, call
//!   memory      a thread of the worker process takes the order                          crate::hsm::memory
//!   answers     one task takes the replies, as many as there are                        answers
//!   or a failure: mended and tried once more, or judged                                 attempts, blame
//! ```
//!
//! Only plain data and waiting here, and no C call, so any of these futures may be dropped at any time.
//!
//! A deadline that passed is no strike, for the command may have waited all the time; a C call that does not return is one
//! (`hangs`).

mod answers;
mod attempts;
mod blame;
mod call;
mod handles;
mod hangs;
mod lane_queue;
mod lease;
mod loading;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, watch};

use crate::fair_queue::CostClass;
use crate::hsm::counts::{ErrorCounts, Gauges};
use crate::hsm::engine::command::{Check, Command};
use crate::hsm::engine::order::{Answer, Order, Reply, Work, decode, encode};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::{LANES, Lane, MAILBOX_BYTES, Memory, Moment};
use crate::hsm::process::{WorkerProcess, ended};
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::MaterialId;

use blame::LastCheck;
use call::Call;
use handles::Handles;
use lane_queue::LaneQueue;
use lease::Lease;

pub(super) use hangs::HangWatch;

/// The most that may wait for a lane of one thread, whose commands take up to seconds: more would not have their turn.
const WAITING_FOR_ONE: usize = 128;

/// How often it is looked whether all calls have ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The dispatcher of one worker process.
pub(in crate::hsm) struct Dispatcher {
    process: Arc<WorkerProcess>,
    memory: Memory,
    lanes: [LaneQueue; LANES.len()],
    handles: Handles,
    /// Calls that have not ended.
    under_way: AtomicUsize,
    /// The epoch of the login, as far as it is known here.
    epoch: AtomicU64,
    /// The latest beginning of a command that then succeeded: see `blame`.
    latest_success: AtomicU64,
    errors: ErrorCounts,
    /// Threads that were given up because a call did not return, so far.
    replaced: watch::Sender<u64>,
    /// Rung by who has waited until its deadline: its call may hang.
    overdue: Notify,
    last_check: LastCheck,
}

impl Dispatcher {
    /// A dispatcher for a worker process that has opened its HSM, shares `memory` and calls by `called`. Must be called in a
    /// runtime.
    pub(in crate::hsm) fn start(
        process: Arc<WorkerProcess>,
        (memory, called): (Memory, Receiver),
        settings: &Settings,
    ) -> Arc<Self> {
        let limit = settings.queue.max(1);
        let lanes = LANES.map(|lane| {
            let limit = if lane == Lane::Work { limit } else { limit.min(WAITING_FOR_ONE) };
            LaneQueue::new(lane, limit, hangs::patience(lane), &memory)
        });
        let dispatcher = Arc::new(Self {
            process,
            memory,
            lanes,
            handles: Handles::new(settings.cached_handles),
            under_way: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            latest_success: AtomicU64::new(0),
            errors: ErrorCounts::default(),
            replaced: watch::Sender::new(0),
            overdue: Notify::new(),
            last_check: LastCheck::default(),
        });
        tokio::spawn(Arc::clone(&dispatcher).serve(called));
        dispatcher
    }

    /// Does what is to be done all the time, until the worker process has ended; then there are no more answers.
    async fn serve(self: Arc<Self>, called: Receiver) {
        tokio::select! {
            () = self.process.ended() => {}
            () = self.take_answers(called) => {}
            () = self.load_handles() => {}
            () = self.watch_hangs() => {}
        }
        self.close(&ended());
    }

    /// Does one command, or says why not, by the deadline.
    pub(in crate::hsm) async fn call<C: Command>(
        self: &Arc<Self>,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        self.by(deadline, self.attempts(asker, command, deadline)).await
    }

    /// Logs in on a new session, takes no handle of before for good any more, for an HSM that was away may have other objects
    /// under the old numbers, and asks for the known answer.
    pub(in crate::hsm) async fn check_anew(self: &Arc<Self>, deadline: Instant) -> Result<(), HsmError> {
        self.by(deadline, self.log_in_anew(deadline)).await?;
        self.call(Asker::SERVICE, &Check, deadline).await
    }

    async fn by<T>(&self, deadline: Instant, done: impl Future<Output = Result<T, HsmError>>) -> Result<T, HsmError> {
        if deadline <= Instant::now() {
            return Err(HsmError::timeout());
        }
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let _ended = Ended(&self.under_way);
        let done = tokio::time::timeout_at(deadline.into(), done).await;
        done.unwrap_or_else(|_| {
            self.overdue.notify_one();
            Err(HsmError::timeout())
        })
    }

    /// Sends an order, and waits for the reply.
    async fn ask(
        &self,
        (lane, asker, class): (Lane, Asker, CostClass),
        work: Work<'_>,
        lease: Option<Arc<Lease>>,
        deadline: Instant,
    ) -> Result<(Answer, Moment), Unanswered> {
        let (sent, deadline) = (Moment::now(), Moment::of(deadline));
        let unasked = |error| Unanswered { error, began: sent };
        let order = encode(&Order { deadline, work }).ok().filter(|order| order.len() <= MAILBOX_BYTES);
        let too_long = || HsmError::new(Kind::Rejected, "call", "longer than any call takes");
        let order = order.ok_or_else(|| unasked(too_long()))?;
        let (call, reply) = Call::new((asker, class), deadline, lease, order);
        let queue = self.lane(lane);
        if queue.send(&self.memory, call).is_err() {
            self.end_corrupted_process();
        }
        let reply = reply.await.unwrap_or_else(|_| Err(HsmError::timeout())).map_err(unasked)?;
        let Ok(Reply { began, ended, epoch, result }) = decode(&reply) else {
            return Err(unasked(self.end_corrupted_process()));
        };
        queue.note(class, ended.since(began));
        self.see_epoch(epoch);
        match result {
            Ok(answer) => {
                self.latest_success.fetch_max(began.nanos(), Ordering::Relaxed);
                Ok((answer, began))
            }
            Err(error) => {
                self.errors.note(&error);
                Err(Unanswered { error, began })
            }
        }
    }

    /// What the worker process has written is not what it can have written: it is replaced.
    fn end_corrupted_process(&self) -> HsmError {
        let corrupted =
            HsmError::new(Kind::DeviceLost, "worker process", "its module has written over the shared memory");
        tracing::error!(error = %corrupted, "the worker process of the HSM is ended");
        self.close(&corrupted);
        self.process.kill();
        corrupted
    }

    /// Takes notice of the epoch that the login is in: handles of an earlier one mean nothing any more.
    fn see_epoch(&self, epoch: u64) {
        if self.epoch.fetch_max(epoch, Ordering::AcqRel) < epoch {
            self.handles.reset();
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn lane(&self, lane: Lane) -> &LaneQueue {
        let [work, slow, writer, anchor] = &self.lanes;
        match lane {
            Lane::Work => work,
            Lane::Slow => slow,
            Lane::Writer => writer,
            Lane::Anchor => anchor,
        }
    }

    /// Forgets the handles of this material.
    pub(in crate::hsm) fn forget(&self, material: MaterialId) {
        self.handles.forget(material);
    }

    /// A watch over calls that do not return.
    pub(in crate::hsm) fn hangs(&self) -> HangWatch {
        HangWatch::new(self.replaced.subscribe())
    }

    /// Numbers of this moment.
    pub(in crate::hsm) fn gauges(&self) -> Gauges {
        let work = self.lane(Lane::Work);
        let report = self.process.report();
        let (queue_depth, sessions_busy) = work.waiting_and_taken(&self.memory);
        Gauges {
            queue_depth,
            sessions: work.threads(&self.memory),
            sessions_busy,
            threads_replaced: *self.replaced.borrow(),
            cached_handles: self.handles.len(),
            calls_late: self.lanes.iter().map(LaneQueue::late).sum::<u64>() + report.threads_returned,
            threads_lost: report.threads_lost,
        }
    }

    /// Every code but CKR_OK that the HSM has answered to a command, and how often.
    pub(in crate::hsm) fn errors(&self) -> &ErrorCounts {
        &self.errors
    }

    /// Waits until all calls have ended, or for so long. Nobody must make new ones any more.
    pub(in crate::hsm) async fn drain(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.under_way.load(Ordering::Acquire) > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn close(&self, why: &HsmError) {
        self.lanes.iter().for_each(|lane| lane.close(why));
        self.handles.reset();
    }
}

/// A call ends, however it does.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An order that came to nothing: why, and when it was begun.
struct Unanswered {
    error: HsmError,
    began: Moment,
}
