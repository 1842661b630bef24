//! The short road of a command whose handle is cached: straight into the queue, and the answer from the thread that made the
//! calls to whoever is to have it. No future is made for it, no other thread is woken.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Engine;
use super::handles::Lease;
use super::plan::Lane;
use super::pool::{Failure, Job};
use crate::hsm::command::{Answer, Asker, Command};
use crate::hsm::error::HsmError;

/// Who is to have an answer. Nobody is told of a command that was dropped because its deadline had passed.
pub(super) enum Reply {
    /// A future that waits.
    Waiting(oneshot::Sender<Result<Answer, Failure>>),
    /// A function, to be called on the thread that made the calls; it must not wait.
    Told(Box<dyn FnOnce(Result<Answer, Failure>) + Send>),
}

impl Reply {
    /// Whether nobody waits any more, as far as can be known.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Told(_) => false,
        }
    }

    pub(super) fn send(self, result: Result<Answer, Failure>) {
        match self {
            // Who no longer waits is not told; the answer is zeroised where it is secret.
            Self::Waiting(sender) => drop(sender.send(result)),
            Self::Told(tell) => tell(result),
        }
    }
}

impl Engine {
    /// Does one command as `call_for` does, and tells `done` what came of it, on any thread. Must be called in a runtime,
    /// which does what takes waiting. After the deadline `done` may not be called at all.
    pub(in crate::hsm) fn post(
        &self,
        asker: Asker,
        command: Command,
        deadline: Instant,
        done: impl FnOnce(Result<Answer, HsmError>) + Send + 'static,
    ) {
        match self.ready_lease(&command) {
            Some(lease) => self.post_directly(asker, command, lease, deadline, done),
            None => {
                let engine = self.clone();
                tokio::spawn(async move { done(engine.call_for(asker, command, deadline).await) });
            }
        }
    }

    /// The handle, if it is cached, of a command that needs one and goes to the workers.
    fn ready_lease(&self, command: &Command) -> Option<Arc<Lease>> {
        let (id, _) = command.needs().filter(|_| command.lane() == Lane::Work)?;
        self.core().handles.cached(id)
    }

    fn post_directly(
        &self,
        asker: Asker,
        command: Command,
        lease: Arc<Lease>,
        deadline: Instant,
        done: impl FnOnce(Result<Answer, HsmError>) + Send + 'static,
    ) {
        let (engine, runtime, epoch) = (self.clone(), Handle::current(), self.core().epoch());
        let tell = move |result| match result {
            Ok(answer) => done(Ok(answer)),
            // What is to be done about it takes waiting.
            Err(failure) => drop(runtime.spawn(async move {
                done(engine.rescue(asker, failure, epoch, deadline).await);
            })),
        };
        let job = Job { asker, command, lease: Some(lease), deadline, reply: Reply::Told(Box::new(tell)) };
        if let Err((error, job)) = self.enqueue(job) {
            let started = self.core().ticks(Instant::now());
            let Job { command, lease, reply, .. } = *job;
            reply.send(Err(Failure { error, command, lease, started }));
        }
    }
}
