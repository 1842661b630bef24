//! The verification of signatures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::SigningAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;

use super::{Needs, Perform, RunContext};

/// Verifies what [`Sign`](super::Sign) made, with the public half. The error is `Rejected` if it is not right.
#[derive(Clone, Serialize, Deserialize)]
pub struct Verify {
    /// The key pair.
    pub material: Arc<Material>,
    /// How it was signed.
    pub algorithm: SigningAlgorithm,
    /// The message, as [`SigningAlgorithm::input`] prepares it.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
    /// The signature.
    #[serde(with = "bytes")]
    pub signature: Vec<u8>,
}

impl Perform for Verify {
    type Answer = ();

    const JUDGES_DATA: bool = true;

    fn needs(&self) -> Needs<'_> {
        Needs::PublicHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<(), HsmError> {
        let spec = self.material.spec;
        context.calls.verify(spec, self.algorithm, context.key()?, &self.input, &self.signature)
    }
}
