//! The attempts at a command: a handle, a place in the queue, the answer; and what is done about a failure.
//!
//! Only plain data and waiting here. No C call is made in these futures, so any of them may be dropped at any time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Dispatcher;
use super::job::{Completion, FailedAttempt, Job};
use super::queue::QueueRefusal;
use crate::hsm::engine::command::{Lane, Needs, QueuedCommand};
use crate::hsm::engine::handles::anchor_request::AnchorRequest;
use crate::hsm::engine::handles::cache::HandleLookup;
use crate::hsm::engine::handles::lease::Lease;
use crate::hsm::error::{HsmError, Kind};
use crate::identity::Asker;

/// How many failures of one command are mended before the last one is its answer.
const MOST_MENDED: usize = 3;

/// How long the login may take that follows on a failure of the HSM.
const RENEWAL: Duration = Duration::from_secs(2);

impl Dispatcher {
    /// Tries a command, mends what can be mended and tries again: once for each kind of failure, and once more if a new login
    /// came in between, because then the failure says nothing about what is now.
    pub(in crate::hsm) async fn attempts(&self, asker: Asker, command: Box<dyn QueuedCommand>, deadline: Instant) {
        let epoch = self.core.state.epoch();
        match self.attempt(asker, command, deadline).await {
            Ok(command) => command.end(Ok(())),
            Err(failure) => self.try_again(asker, failure, epoch, deadline).await,
        }
    }

    /// Sees to a command whose first attempt failed, by the deadline.
    pub(in crate::hsm) async fn rescue(&self, asker: Asker, failure: FailedAttempt, epoch: u64, deadline: Instant) {
        let attempts = self.try_again(asker, failure, epoch, deadline);
        // Nobody waits after the deadline.
        let _ = tokio::time::timeout_at(deadline.into(), attempts).await;
    }

    async fn try_again(&self, asker: Asker, mut failure: FailedAttempt, mut epoch: u64, deadline: Instant) {
        let mut mended = Vec::new();
        loop {
            let kind = failure.error.kind;
            // To make a handle is another matter than to use it.
            let trouble = (kind, failure.lease.is_some());
            let is_again = mended.contains(&trouble);
            let is_new = !is_again || self.core.state.epoch() != epoch;
            let is_mended = match mended.len() < MOST_MENDED && is_new {
                true => self.mend(&failure, epoch, deadline).await,
                false => Ok(false),
            };
            match is_mended {
                Ok(true) => {}
                Ok(false) => {
                    let error = self.judge(&failure, is_again, epoch, deadline).await;
                    return failure.command.end(Err(error));
                }
                Err(error) => return failure.command.end(Err(error)),
            }
            mended.push(trouble);
            epoch = self.core.state.epoch();
            failure = match self.attempt(asker, failure.command, deadline).await {
                Ok(command) => return command.end(Ok(())),
                Err(failure) => failure,
            };
        }
    }

    /// Begins a new epoch, whatever became of the present one.
    pub(in crate::hsm) async fn log_in_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.log_in(self.core.state.epoch(), deadline).await
    }

    /// True if trying again may help, after having done what it takes.
    async fn mend(&self, failure: &FailedAttempt, epoch: u64, deadline: Instant) -> Result<bool, HsmError> {
        match failure.error.kind {
            // Refused again by an HSM that is known to be well, the data is to blame; so it must be known to be well first.
            Kind::Ambiguous if failure.command.judges_data() => self.is_well(failure.started, deadline).await,
            // No data was to blame, so it was the HSM: what came back may have other objects under the old numbers, and none is
            // used before it has been found anew.
            Kind::Ambiguous if failure.command.is_repeatable() => {
                let renewed = self.log_in(epoch, deadline).await.map(|()| true);
                renewed.map_err(|error| match error.kind {
                    Kind::Ambiguous => error.with_kind(Kind::DeviceLost),
                    _ => error,
                })
            }
            Kind::SessionLost => Ok(failure.command.is_repeatable()),
            // The known answer's key went with the anchor's session; it is made with the login.
            Kind::KeyMissing if matches!(failure.command.needs(), Needs::KnownAnswer) => {
                self.log_in(epoch, deadline).await.map(|()| true)
            }
            // An object that is being taken away may answer anything, SoftHSM2's even that the mechanism is unknown.
            Kind::KeyMissing | Kind::Unsupported => {
                let Some((lease, (id, _))) = failure.lease.as_ref().zip(failure.command.needs().handle()) else {
                    return Ok(false);
                };
                self.core.handles.drop_stale(id, lease);
                Ok(true)
            }
            // Who is not logged in has changed nothing.
            Kind::LoggedOut => self.log_in(epoch, deadline).await.map(|()| true),
            _ => Ok(false),
        }
    }

    /// The final error of a command. After one of the HSM itself no handle of before is used any more: what stands in for
    /// it, or comes back in its place, may have other objects under the old numbers.
    async fn judge(&self, failure: &FailedAttempt, is_again: bool, epoch: u64, deadline: Instant) -> HsmError {
        let error = self.verdict_on(failure, is_again, deadline).await;
        if error.kind == Kind::DeviceLost && error.is_answer() {
            let (done, _) = oneshot::channel();
            let _ = self.anchor.send(AnchorRequest::LogIn { seen: epoch, deadline: Instant::now() + RENEWAL, done });
        }
        error
    }

    async fn verdict_on(&self, failure: &FailedAttempt, is_again: bool, deadline: Instant) -> HsmError {
        let error = failure.error.clone();
        match error.kind {
            // Once is not enough to blame anybody but the HSM.
            Kind::Ambiguous if !is_again => error.with_kind(Kind::DeviceLost),
            Kind::Ambiguous => error.with_kind(self.verdict(failure, deadline).await),
            // Handles die faster than they can be made. The key is missing only if it cannot be found.
            Kind::KeyMissing if error.is_of_a_dead_handle() => error.with_kind(Kind::SessionLost),
            _ => error,
        }
    }

    async fn log_in(&self, seen: u64, deadline: Instant) -> Result<(), HsmError> {
        let (done, wait) = oneshot::channel();
        let _ = self.anchor.send(AnchorRequest::LogIn { seen, deadline, done });
        wait.await.unwrap_or_else(|_| Err(HsmError::stopped()))
    }

    /// One attempt: a handle if one is needed, a place in the queue, the answer.
    pub(in crate::hsm) async fn attempt(
        &self,
        asker: Asker,
        command: Box<dyn QueuedCommand>,
        deadline: Instant,
    ) -> Result<Box<dyn QueuedCommand>, FailedAttempt> {
        let started = self.core.state.ticks(Instant::now());
        let fail = |error, command| FailedAttempt { error, command, lease: None, started };
        let lease = match self.lease(asker, &*command, deadline).await {
            Ok(lease) => lease,
            Err(error) => return Err(fail(error, command)),
        };
        let (completion, ended) = oneshot::channel();
        self.enqueue(Job { asker, command, lease, deadline, completion: Completion::Waiting(completion) })
            .map_err(|(error, job)| fail(error, job.command))?;
        match ended.await {
            Ok(result) => result,
            // Dropped unanswered, because its deadline has passed or its thread is gone. The deadline ends this, too.
            Err(_) => std::future::pending().await,
        }
    }

    async fn lease(
        &self,
        asker: Asker,
        command: &dyn QueuedCommand,
        deadline: Instant,
    ) -> Result<Option<Arc<Lease>>, HsmError> {
        let Some((id, material)) = command.needs().handle() else { return Ok(None) };
        match self.core.handles.get(asker, id, material, deadline) {
            HandleLookup::Ready(lease) => Ok(Some(lease)),
            HandleLookup::Soon(wait) => match wait.await {
                Ok(made) => made.map(Some),
                Err(_) => std::future::pending().await,
            },
        }
    }

    pub(in crate::hsm) fn enqueue(&self, job: Job) -> Result<(), (HsmError, Box<Job>)> {
        let queues = self.queues.read();
        let Some(queues) = queues.as_ref() else { return Err((HsmError::stopped(), Box::new(job))) };
        let queue = match job.command.lane() {
            Lane::Work => &queues.work,
            Lane::Slow => &queues.slow,
            Lane::Writer => &queues.writer,
        };
        match queue.send(job) {
            Ok(None) => Ok(()),
            Ok(Some(pushed_out)) => {
                self.turn_away(*pushed_out);
                Ok(())
            }
            Err((refused, job)) => Err((refusal(refused), job)),
        }
    }

    /// Answers a command that had to give up its place.
    fn turn_away(&self, job: Job) {
        let Job { command, lease, completion, .. } = job;
        let started = self.core.state.ticks(Instant::now());
        let error = HsmError::new(Kind::Busy, "queue", "the queue is full, and the place is another caller's");
        completion.send(Err(FailedAttempt { error, command, lease, started }));
    }
}

fn refusal(refused: QueueRefusal) -> HsmError {
    match refused {
        QueueRefusal::Full => HsmError::new(Kind::Busy, "queue", "the queue is full"),
        QueueRefusal::TooLate => HsmError::new(Kind::Busy, "queue", "its turn would not come before its deadline"),
        QueueRefusal::Closed => HsmError::stopped(),
    }
}
