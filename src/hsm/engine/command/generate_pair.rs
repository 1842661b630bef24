//! Data key pairs.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::spec::KeySpec;

use super::{DataKeyPair, Lane, Perform, RunContext};

/// Makes a key pair that is for the caller, not for the HSM.
#[derive(Clone, Serialize, Deserialize)]
pub struct GeneratePair {
    /// The key spec.
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

    fn run(&self, context: &RunContext<'_>) -> Result<DataKeyPair, HsmError> {
        context.calls.generate_pair(self.spec, &context.state.profile)
    }
}
