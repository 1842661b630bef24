//! A command on its way through the queues, whatever it is.

use crate::fair_queue::CostClass;
use crate::hsm::error::{HsmError, Kind};

use super::{Lane, Needs, Perform, RunContext};

/// A command that waits for its answer. It may be tried several times, and comes to one end.
pub(in crate::hsm) trait QueuedCommand: Send + Sync {
    fn class(&self) -> CostClass;
    fn judges_data(&self) -> bool;
    fn needs(&self) -> Needs<'_>;
    fn lane(&self) -> Lane;
    fn is_repeatable(&self) -> bool;

    /// Tries the command. An answer is kept for the end.
    fn run(&mut self, context: &RunContext<'_>) -> Result<(), HsmError>;

    /// Hands out the answer of the last try, or this error in its place.
    fn end(self: Box<Self>, outcome: Result<(), HsmError>);
}

/// A task of a command, whose answer `done` is to have.
pub(in crate::hsm) fn queued<C: Perform>(
    command: C,
    done: impl FnOnce(Result<C::Answer, HsmError>) + Send + Sync + 'static,
) -> Box<dyn QueuedCommand> {
    Box::new(WithAnswer { command, answer: None, done })
}

/// A command, its answer once there is one, and what is to have that.
struct WithAnswer<C: Perform, F> {
    command: C,
    answer: Option<C::Answer>,
    done: F,
}

impl<C: Perform, F: FnOnce(Result<C::Answer, HsmError>) + Send + Sync> QueuedCommand for WithAnswer<C, F> {
    fn class(&self) -> CostClass {
        C::CLASS
    }

    fn judges_data(&self) -> bool {
        C::JUDGES_DATA
    }

    fn needs(&self) -> Needs<'_> {
        self.command.needs()
    }

    fn lane(&self) -> Lane {
        self.command.lane()
    }

    fn is_repeatable(&self) -> bool {
        self.command.is_repeatable()
    }

    fn run(&mut self, context: &RunContext<'_>) -> Result<(), HsmError> {
        self.answer = Some(self.command.run(context)?);
        Ok(())
    }

    fn end(self: Box<Self>, outcome: Result<(), HsmError>) {
        let Self { answer, done, .. } = *self;
        done(outcome.and_then(|()| answer.ok_or_else(unanswered)));
    }
}

fn unanswered() -> HsmError {
    HsmError::new(Kind::Bug, "task", "the command ended before it was done")
}
