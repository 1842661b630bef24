//! The short road of a command whose handle is cached: straight into the queue, and the answer from the thread that made the
//! calls to whoever is to have it. No future is made for it, no other thread is woken.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Engine;
use super::command::{Lane, Task};
use super::handles::Lease;
use super::pool::{Failure, Job};
use crate::identity::Asker;

/// Who is told how an attempt ended. Nobody is told of a command that was dropped because its deadline had passed.
pub(super) enum Reply {
    /// A future that waits.
    Waiting(oneshot::Sender<Result<Box<dyn Task>, Failure>>),
    /// Nobody: an answer is handed out on the thread that made the calls, and a failure is seen to in the runtime.
    Direct(Rescue),
}

/// What it takes to see to a failure.
pub(super) struct Rescue {
    engine: Engine,
    runtime: Handle,
    asker: Asker,
    epoch: u64,
    deadline: Instant,
}

impl Reply {
    /// Whether nobody waits any more, as far as can be known.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Direct(_) => false,
        }
    }

    pub(super) fn send(self, result: Result<Box<dyn Task>, Failure>) {
        match (self, result) {
            // Who no longer waits is not told; the answer is zeroised where it is secret.
            (Self::Waiting(sender), result) => drop(sender.send(result)),
            (Self::Direct(_), Ok(task)) => task.end(Ok(())),
            (Self::Direct(rescue), Err(failure)) => rescue.begin(failure),
        }
    }
}

impl Rescue {
    /// What is to be done about it takes waiting.
    fn begin(self, failure: Failure) {
        let Self { engine, runtime, asker, epoch, deadline } = self;
        runtime.spawn(async move { engine.rescue(asker, failure, epoch, deadline).await });
    }
}

impl Engine {
    /// Does one command as `call_for` does; the task hands out what came of it, on any thread. Must be called in a runtime,
    /// which does what takes waiting. After the deadline nothing may be handed out at all.
    pub(in crate::hsm) fn post(&self, asker: Asker, task: Box<dyn Task>, deadline: Instant) {
        match self.ready_lease(&*task) {
            Some(lease) => self.post_directly(asker, task, lease, deadline),
            None => {
                let engine = self.clone();
                tokio::spawn(async move { engine.perform(asker, task, deadline).await });
            }
        }
    }

    /// The handle, if it is cached, of a command that needs one and goes to the workers.
    fn ready_lease(&self, task: &dyn Task) -> Option<Arc<Lease>> {
        let (id, _) = task.needs().handle().filter(|_| task.lane() == Lane::Work)?;
        self.core().handles.cached(id)
    }

    fn post_directly(&self, asker: Asker, task: Box<dyn Task>, lease: Arc<Lease>, deadline: Instant) {
        let (engine, runtime, epoch) = (self.clone(), Handle::current(), self.core().epoch());
        let reply = Reply::Direct(Rescue { engine, runtime, asker, epoch, deadline });
        if let Err((error, job)) = self.enqueue(Job { asker, task, lease: Some(lease), deadline, reply }) {
            let started = self.core().ticks(Instant::now());
            let Job { task, lease, reply, .. } = *job;
            reply.send(Err(Failure { error, task, lease, started }));
        }
    }
}
