//! A worker: takes a job, makes its calls on the session that only this thread has, answers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptoki::session::Session;

use super::core::Core;
use super::job::{FailedAttempt, Job};
use super::lane_threads::{Generation, LaneThread};
use super::queue::{Next, Queue};
use crate::hsm::engine::command::RunContext;
use crate::hsm::error::{HsmError, Kind};

struct Worker<'a> {
    core: &'a Core,
    lane: &'a LaneThread,
    queue: &'a Queue,
    number: usize,
    /// `None` after a call that did not end in a known way; the next job opens another.
    session: Option<Session>,
}

/// Does jobs until there will be no more or the thread has been replaced.
pub(in crate::hsm) fn serve(
    core: &Core,
    lane: &LaneThread,
    generation: Generation,
    (queue, number): (&Queue, usize),
    session: Option<Session>,
) {
    let mut worker = Worker { core, lane, queue, number, session };
    loop {
        match queue.take(number) {
            Next::Do(job) => {
                if !worker.serve(job, generation) {
                    break;
                }
            }
            Next::Rest => worker.rest(),
            Next::End => return,
        }
    }
    // Its session, which nobody could count on, is free for another.
    drop(worker);
    core.work.recall();
}

impl Worker<'_> {
    /// Does a job, if somebody waits for it. True if the thread may go on.
    fn serve(&mut self, job: Job, generation: Generation) -> bool {
        let now = Instant::now();
        // Nobody waits for it: not worth a call.
        if job.completion.is_closed() || job.deadline <= now {
            return true;
        }
        self.lane.begin(self.core, now, job.deadline);
        self.run(job, now);
        self.lane.end(self.core, generation)
    }

    fn rest(&mut self) {
        self.session = None;
        self.lane.note_session(false);
        self.queue.rest(self.number);
    }

    fn run(&mut self, mut job: Job, now: Instant) {
        match self.ensure_session(job.deadline) {
            Ok(()) => {
                let result = self.attempt(&mut job);
                self.queue.note(job.command.class(), now.elapsed());
                self.answer(job, now, result);
            }
            Err(error) if error.kind == Kind::Busy => self.hand_over(job, now, error),
            Err(error) => self.answer(job, now, Err(error)),
        }
    }

    /// The token has no session left, which is no failure of the job while another worker has one.
    fn hand_over(&mut self, job: Job, now: Instant, error: HsmError) {
        match self.queue.hand_over(self.number, job) {
            Some(job) => self.answer(*job, now, Err(error)),
            None => self.core.state.counts.note(&error),
        }
    }

    fn ensure_session(&mut self, deadline: Instant) -> Result<(), HsmError> {
        if self.session.is_some() {
            return Ok(());
        }
        let opened = match self.lane.is_worker() {
            true => self.core.state.open_session(),
            false => self.core.insist_on_session(deadline),
        };
        self.lane.note_session(opened.is_ok());
        self.session = Some(opened?);
        Ok(())
    }

    fn answer(&mut self, job: Job, now: Instant, result: Result<(), HsmError>) {
        let Job { command, lease, deadline, completion, .. } = job;
        let started = self.core.state.ticks(now);
        match &result {
            Ok(()) => self.core.state.note_success(started),
            Err(error) => self.note(error),
        }
        if Instant::now() > deadline {
            self.core.state.counts.late.fetch_add(1, Ordering::Relaxed);
        }
        completion.send(match result {
            Ok(()) => Ok(command),
            Err(error) => Err(FailedAttempt { error, command, lease, started }),
        });
    }

    fn note(&mut self, error: &HsmError) {
        self.core.state.counts.note(error);
        if !error.spares_session() {
            self.session = None;
        }
    }

    fn attempt(&self, job: &mut Job) -> Result<(), HsmError> {
        let Job { command, lease, deadline, .. } = job;
        let lease = lease.as_deref();
        let _guard = lease.map(|lease| lease.lock.enter(|| self.core.state.epoch())).transpose()?;
        let calls = self.core.state.calls(self.session.as_ref().ok_or_else(HsmError::stopped)?);
        let open = || self.core.insist_on_session(*deadline);
        let attempt = RunContext { state: &self.core.state, handles: &self.core.handles, calls, lease, open: &open };
        command.run(&attempt).map_err(|error| match lease {
            // Something else has gone wrong meanwhile; this may come of it.
            Some(lease) if error.kind == Kind::Ambiguous && lease.lock.epoch != self.core.state.epoch() => {
                HsmError::new(Kind::SessionLost, "lease", "the login ended while the handle was in use")
            }
            // Another handle is tried first, and the anchor explains if it cannot make one.
            Some(_) if error.kind == Kind::KeyMissing => error,
            _ => calls.explain(error),
        })
    }
}
