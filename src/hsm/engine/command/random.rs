//! Random bytes.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::secret::SecretBytes;

use super::{Attempt, Perform};

/// Makes random bytes with the HSM's generator.
#[derive(Clone, Serialize, Deserialize)]
pub struct Random {
    /// Number of bytes.
    pub len: usize,
}

impl Perform for Random {
    type Answer = SecretBytes;

    fn run(&self, attempt: &Attempt<'_>) -> Result<SecretBytes, HsmError> {
        attempt.line.random(self.len)
    }
}
