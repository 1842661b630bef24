//! Random bytes.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::secret::SecretBytes;

use super::{Perform, RunContext};

/// Makes random bytes with the HSM's generator.
#[derive(Clone, Serialize, Deserialize)]
pub struct Random {
    /// Number of bytes.
    pub len: usize,
}

impl Perform for Random {
    type Answer = SecretBytes;

    fn run(&self, context: &RunContext<'_>) -> Result<SecretBytes, HsmError> {
        context.calls.random(self.len)
    }
}
