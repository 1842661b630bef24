//! A worker: makes the calls of a command on the session that only this thread has.

use std::sync::Arc;
use std::time::Instant;

use cryptoki::session::Session;

use crate::hsm::engine::command::{AnyCommand, RunContext};
use crate::hsm::engine::leases::Lease;
use crate::hsm::engine::order::{Answer, Order, Work};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::Lane;

use super::core::Core;
use super::lane_thread::{TakenOrder, ThreadContext, ThreadRole, misdirected};

/// A worker, or the only thread of the slow lane or the writer's.
pub(super) struct Worker {
    /// `None` after a call that did not end in a known way; the next command opens another.
    session: Option<Session>,
}

impl Worker {
    pub(super) fn new(session: Option<Session>) -> Self {
        Self { session }
    }

    /// A session for the next command. If the token has none left, which is no failure of the command while another worker has
    /// one: `None`.
    fn ensure_session(&mut self, context: &ThreadContext<'_>, deadline: Instant) -> Option<Result<(), HsmError>> {
        if self.session.is_some() {
            return Some(Ok(()));
        }
        let opened = match context.thread.lane {
            Lane::Work => context.core.state.open_session(),
            _ => context.core.insist_on_session(deadline),
        };
        match opened {
            Ok(session) => {
                self.session = Some(session);
                Some(Ok(()))
            }
            Err(error) if error.kind == Kind::Busy && may_rest(context) => {
                context.core.state.counts.note(&error);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn attempt(
        &self,
        core: &Core,
        lease: Option<Arc<Lease>>,
        command: AnyCommand<'_>,
        deadline: Instant,
    ) -> Result<Answer, HsmError> {
        let lease = lease.as_deref();
        let _guard = lease.map(|lease| lease.lock.enter(|| core.state.epoch())).transpose()?;
        let calls = core.state.calls(self.session.as_ref().ok_or_else(HsmError::stopped)?);
        let open = || core.insist_on_session(deadline);
        let context = RunContext { state: &core.state, calls, lease, open: &open };
        command.run(&context).map(Answer::Command).map_err(|error| match lease {
            // Something else has gone wrong meanwhile; this may come of it.
            Some(lease) if error.kind == Kind::Ambiguous && lease.lock.epoch != core.state.epoch() => {
                HsmError::new(Kind::SessionLost, "lease", "the login ended while the handle was in use")
            }
            // Another handle is tried first, and the anchor explains if it cannot make one.
            Some(_) if error.kind == Kind::KeyMissing => error,
            _ => calls.explain(error),
        })
    }
}

impl ThreadRole for Worker {
    fn carry_out(
        &mut self,
        context: &ThreadContext<'_>,
        _: &TakenOrder,
        order: Order<'_>,
    ) -> Option<Result<Answer, HsmError>> {
        let deadline = order.until();
        let (lease, command) = match order.work {
            Work::Perform { lease, command } => (lease, command),
            other => return Some(Err(misdirected(other))),
        };
        let lease = match lease.map(|number| context.core.leases.get(number)).transpose() {
            Ok(lease) => lease,
            Err(error) => return Some(Err(error)),
        };
        if let Err(error) = self.ensure_session(context, deadline)? {
            return Some(Err(error));
        }
        let result = self.attempt(context.core, lease, command, deadline);
        if result.as_ref().is_err_and(|error| !error.spares_session()) {
            self.session = None;
        }
        Some(result)
    }

    /// Rests, if the token has no session for this worker, or another lane needs it.
    fn do_chores(&mut self, context: &ThreadContext<'_>) -> bool {
        let number = context.thread.number;
        if context.thread.lane != Lane::Work || !context.core.sharing.is_to_rest(number) {
            return false;
        }
        self.session = None;
        let bells = context.core.memory.bells();
        bells.note_rest(number, true);
        // Another may have been left asleep with what this one put back.
        if context.core.memory.mailboxes().has_ready(context.core.memory.layout().mailboxes(Lane::Work)) {
            bells.wake_one(context.core.memory.layout().threads(Lane::Work));
        }
        context.core.sharing.rest(number);
        bells.note_rest(number, false);
        true
    }

    fn has_chores(&self, context: &ThreadContext<'_>) -> bool {
        context.thread.lane == Lane::Work && context.core.sharing.is_one_to_spare()
    }
}

/// True if this worker may leave a command to another.
fn may_rest(context: &ThreadContext<'_>) -> bool {
    context.thread.lane == Lane::Work && context.core.sharing.may_rest(context.thread.number)
}
