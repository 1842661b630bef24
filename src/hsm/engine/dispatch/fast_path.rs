//! The fast path of a command whose handle is cached: straight into the queue, and the answer from the thread that made the
//! calls to whoever is to have it. No future is made for it, no other thread is woken.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::hsm::engine::command::{Lane, QueuedCommand};
use crate::hsm::engine::handles::lease::Lease;
use crate::identity::Asker;

use super::Dispatcher;
use super::job::{Completion, FailedAttempt, Job, Rescue};

impl Dispatcher {
    /// Does one command as `call_for` does; the task hands out what came of it, on any thread. Must be called in a runtime,
    /// which does what takes waiting. After the deadline nothing may be handed out at all.
    pub(in crate::hsm) fn post(self: &Arc<Self>, asker: Asker, command: Box<dyn QueuedCommand>, deadline: Instant) {
        match self.ready_lease(&*command) {
            Some(lease) => self.post_directly(asker, command, lease, deadline),
            None => {
                let engine = Arc::clone(self);
                tokio::spawn(async move { engine.perform(asker, command, deadline).await });
            }
        }
    }

    /// The handle, if it is cached, of a command that needs one and goes to the workers.
    fn ready_lease(&self, command: &dyn QueuedCommand) -> Option<Arc<Lease>> {
        let (id, _) = command.needs().handle().filter(|_| command.lane() == Lane::Work)?;
        self.core.handles.cached(id)
    }

    fn post_directly(
        self: &Arc<Self>,
        asker: Asker,
        command: Box<dyn QueuedCommand>,
        lease: Arc<Lease>,
        deadline: Instant,
    ) {
        let engine = Arc::clone(self);
        let runtime = Handle::current();
        let epoch = self.core.state.epoch();
        let completion = Completion::Direct(Rescue { engine, runtime, asker, epoch, deadline });
        if let Err((error, job)) = self.enqueue(Job { asker, command, lease: Some(lease), deadline, completion }) {
            let started = self.core.state.ticks(Instant::now());
            let Job { command, lease, completion, .. } = *job;
            completion.send(Err(FailedAttempt { error, command, lease, started }));
        }
    }
}
