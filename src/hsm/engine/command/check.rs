//! The known answer.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;

use super::{Needs, Perform, RunContext};

/// Decrypts a known answer under a key of this process: is the HSM well?
#[derive(Clone, Serialize, Deserialize)]
pub struct Check;

impl Perform for Check {
    type Answer = ();

    fn needs(&self) -> Needs<'_> {
        Needs::KnownAnswer
    }

    fn run(&self, context: &RunContext<'_>) -> Result<(), HsmError> {
        context.state.check(context.calls)
    }
}
