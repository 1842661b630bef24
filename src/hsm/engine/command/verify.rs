//! The verification of signatures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::SigningAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;

use super::{Attempt, Needs, Perform};

/// Verifies what [`Sign`](super::Sign) made, with the public half. The error is `Rejected` if it is not right.
#[derive(Clone, Serialize, Deserialize)]
pub struct Verify {
    /// The key pair.
    pub material: Arc<Material>,
    /// How it was signed.
    pub algorithm: SigningAlgorithm,
    /// What [`SigningAlgorithm::input`] gives of the message.
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

    fn run(&self, attempt: &Attempt<'_>) -> Result<(), HsmError> {
        let spec = self.material.spec;
        attempt.line.verify(spec, self.algorithm, attempt.key()?, &self.input, &self.signature)
    }
}
