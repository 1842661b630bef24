//! The attempts at a command: a handle, a place in the queue, the answer; and what is done about a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handles::HandleLookup;
use super::lease::Lease;
use super::{Dispatcher, Unanswered};
use crate::hsm::engine::command::{Command, Needs, another};
use crate::hsm::engine::order::{AnchorWork, Answer, Work};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::Moment;
use crate::identity::Asker;

/// How many failures of one command are mended before the last one is its answer.
const MOST_MENDED: usize = 3;

/// How long the login may take that follows on a failure of the HSM.
const RENEWAL: Duration = Duration::from_secs(2);

/// An attempt at a command that failed.
pub(super) struct FailedAttempt {
    pub(super) error: HsmError,
    /// The handle it was tried with.
    pub(super) lease: Option<Arc<Lease>>,
    /// When it was begun.
    pub(super) began: Moment,
}

impl Dispatcher {
    /// Tries a command, mends what can be mended and tries again: once for each kind of failure, and once more if a new login
    /// came in between, because then the failure says nothing about what is now.
    pub(super) async fn attempts<C: Command>(
        self: &Arc<Self>,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        let epoch = self.epoch();
        match self.attempt(asker, command, deadline).await {
            Ok(answer) => Ok(answer),
            Err(failure) => Box::pin(self.try_again(asker, command, failure, epoch, deadline)).await,
        }
    }

    async fn try_again<C: Command>(
        self: &Arc<Self>,
        asker: Asker,
        command: &C,
        mut failure: FailedAttempt,
        mut epoch: u64,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        let mut mended = Vec::new();
        loop {
            let kind = failure.error.kind;
            // To make a handle is another matter than to use it.
            let trouble = (kind, failure.lease.is_some());
            let is_again = mended.contains(&trouble);
            let is_new = !is_again || self.epoch() != epoch;
            let may_mend = mended.len() < MOST_MENDED && is_new;
            if !may_mend || !self.mend(command, &failure, epoch, deadline).await? {
                return Err(self.judge(command, &failure, is_again, epoch, deadline).await);
            }
            mended.push(trouble);
            epoch = self.epoch();
            failure = match self.attempt(asker, command, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
        }
    }

    /// Begins a new epoch, whatever became of the present one.
    pub(super) async fn log_in_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.log_in(self.epoch(), deadline).await
    }

    /// True if trying again may help, after having done what it takes.
    async fn mend<C: Command>(
        &self,
        command: &C,
        failure: &FailedAttempt,
        epoch: u64,
        deadline: Instant,
    ) -> Result<bool, HsmError> {
        match failure.error.kind {
            // Refused again by an HSM that is known to be well, the data is to blame; so it must be known to be well first.
            Kind::Ambiguous if C::JUDGES_DATA => self.is_well(failure.began, deadline).await,
            // No data was to blame, so it was the HSM: what came back may have other objects under the old numbers, and none is
            // used before it has been found anew.
            Kind::Ambiguous if command.is_repeatable() => {
                let renewed = self.log_in(epoch, deadline).await.map(|()| true);
                renewed.map_err(|error| match error.kind {
                    Kind::Ambiguous => error.with_kind(Kind::DeviceLost),
                    _ => error,
                })
            }
            Kind::SessionLost => Ok(command.is_repeatable()),
            // The known answer's key went with the anchor's session; it is made with the login.
            Kind::KeyMissing if matches!(command.needs(), Needs::KnownAnswer) => {
                self.log_in(epoch, deadline).await.map(|()| true)
            }
            // An object that is being taken away may answer anything, SoftHSM2's even that the mechanism is unknown.
            Kind::KeyMissing | Kind::Unsupported => {
                let Some((lease, (id, _))) = failure.lease.as_ref().zip(command.needs().handle()) else {
                    return Ok(false);
                };
                self.handles.drop_stale(id, lease);
                Ok(true)
            }
            // Who is not logged in has changed nothing.
            Kind::LoggedOut => self.log_in(epoch, deadline).await.map(|()| true),
            _ => Ok(false),
        }
    }

    /// The final error of a command. After one of the HSM itself no handle of before is used any more: what stands in for
    /// it, or comes back in its place, may have other objects under the old numbers.
    async fn judge<C: Command>(
        self: &Arc<Self>,
        command: &C,
        failure: &FailedAttempt,
        is_again: bool,
        epoch: u64,
        deadline: Instant,
    ) -> HsmError {
        let error = self.verdict_on(command, failure, is_again, deadline).await;
        if error.kind == Kind::DeviceLost && error.is_answer() {
            let dispatcher = Arc::clone(self);
            tokio::spawn(async move { dispatcher.log_in(epoch, Instant::now() + RENEWAL).await });
        }
        error
    }

    async fn verdict_on<C: Command>(
        &self,
        command: &C,
        failure: &FailedAttempt,
        is_again: bool,
        deadline: Instant,
    ) -> HsmError {
        let error = failure.error.clone();
        match error.kind {
            // Once is not enough to blame anybody but the HSM.
            Kind::Ambiguous if !is_again => error.with_kind(Kind::DeviceLost),
            Kind::Ambiguous => error.with_kind(self.verdict(command, failure, deadline).await),
            // Handles die faster than they can be made. The key is missing only if it cannot be found.
            Kind::KeyMissing if error.is_of_a_dead_handle() => error.with_kind(Kind::SessionLost),
            _ => error,
        }
    }

    async fn log_in(&self, seen: u64, deadline: Instant) -> Result<(), HsmError> {
        let work = Work::Anchor { released: Vec::new(), work: AnchorWork::LogIn { seen } };
        self.ask_anchor(Asker::SERVICE, work, deadline).await
    }

    /// One attempt: a handle if one is needed, a place in the queue, the answer.
    pub(super) async fn attempt<C: Command>(
        &self,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, FailedAttempt> {
        let began = Moment::now();
        let lease = match self.lease(asker, command.needs(), deadline).await {
            Ok(lease) => lease,
            Err(error) => return Err(FailedAttempt { error, lease: None, began }),
        };
        let work = Work::Perform { lease: lease.as_ref().map(|lease| lease.number), command: command.sent() };
        match self.ask((command.lane(), asker, C::CLASS), work, lease.clone(), deadline).await {
            Ok((Answer::Command(answer), began)) => {
                C::received(answer).map_err(|error| FailedAttempt { error, lease, began })
            }
            Ok((Answer::Done, began)) => Err(FailedAttempt { error: another(), lease, began }),
            Err(Unanswered { error, began }) => Err(FailedAttempt { error, lease, began }),
        }
    }

    async fn lease(&self, asker: Asker, needs: Needs<'_>, deadline: Instant) -> Result<Option<Arc<Lease>>, HsmError> {
        let Some((id, material)) = needs.handle() else { return Ok(None) };
        match self.handles.get(asker, id, material, deadline) {
            HandleLookup::Ready(lease) => Ok(Some(lease)),
            HandleLookup::Soon(wait) => match wait.await {
                Ok(made) => made.map(Some),
                // Nobody loads it any more; the deadline ends this, too.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
