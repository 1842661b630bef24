//! Data key pairs.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::spec::KeySpec;

use super::{Attempt, DataKeyPair, Lane, Perform};

/// Makes a key pair that is for the caller, not for the HSM.
#[derive(Clone, Serialize, Deserialize)]
pub struct GeneratePair {
    /// What kind of pair.
    pub spec: KeySpec,
}

impl Perform for GeneratePair {
    type Answer = DataKeyPair;

    fn lane(&self) -> Lane {
        match self.spec.modulus_bits() {
            Some(_) => Lane::Slow,
            None => Lane::Work,
        }
    }

    fn run(&self, attempt: &Attempt<'_>) -> Result<DataKeyPair, HsmError> {
        attempt.line.generate_pair(self.spec, &attempt.state.profile)
    }
}
