//! A command in a queue, and how an attempt at it ended.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::fair_queue::{CostClass, Queued};
use crate::hsm::engine::command::QueuedCommand;
use crate::hsm::engine::handles::lease::Lease;
use crate::hsm::error::HsmError;
use crate::identity::Asker;

use super::Dispatcher;

/// A command on its way to a worker.
pub(in crate::hsm) struct Job {
    /// For whom it is done.
    pub(in crate::hsm) asker: Asker,
    pub(in crate::hsm) command: Box<dyn QueuedCommand>,
    pub(in crate::hsm) lease: Option<Arc<Lease>>,
    pub(in crate::hsm) deadline: Instant,
    pub(in crate::hsm) completion: Completion,
}

impl Queued for Job {
    fn asker(&self) -> Asker {
        self.asker
    }

    fn class(&self) -> CostClass {
        self.command.class()
    }
}

/// A command that was not done, given back so that it may be tried again.
pub(in crate::hsm) struct FailedAttempt {
    pub(in crate::hsm) error: HsmError,
    pub(in crate::hsm) command: Box<dyn QueuedCommand>,
    /// The handle it was tried with.
    pub(in crate::hsm) lease: Option<Arc<Lease>>,
    /// When the attempt started, in the engine's ticks.
    pub(in crate::hsm) started: u64,
}

/// The receiver of an attempt's result. Nobody is told of a command that was dropped because its deadline had passed.
pub(in crate::hsm) enum Completion {
    /// A future that waits.
    Waiting(oneshot::Sender<Result<Box<dyn QueuedCommand>, FailedAttempt>>),
    /// Nobody: an answer is handed out on the thread that made the calls, and a failure is seen to in the runtime.
    Direct(Rescue),
}

/// Everything that is needed to see to a failure.
pub(in crate::hsm) struct Rescue {
    pub(super) engine: Arc<Dispatcher>,
    pub(super) runtime: Handle,
    pub(super) asker: Asker,
    pub(super) epoch: u64,
    pub(super) deadline: Instant,
}

impl Completion {
    /// True if nobody waits any more, as far as can be known.
    pub(in crate::hsm) fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Direct(_) => false,
        }
    }

    pub(in crate::hsm) fn send(self, result: Result<Box<dyn QueuedCommand>, FailedAttempt>) {
        match (self, result) {
            // Who no longer waits is not told; the answer is zeroised where it is secret.
            (Self::Waiting(sender), result) => drop(sender.send(result)),
            (Self::Direct(_), Ok(command)) => command.end(Ok(())),
            (Self::Direct(rescue), Err(failure)) => rescue.begin(failure),
        }
    }
}

impl Rescue {
    /// Sees to the failure in the runtime, because that takes waiting.
    fn begin(self, failure: FailedAttempt) {
        let Self { engine, runtime, asker, epoch, deadline } = self;
        runtime.spawn(async move { engine.rescue(asker, failure, epoch, deadline).await });
    }
}
