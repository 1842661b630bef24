//! ML-KEM with the private half of a key pair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};

/// Comes to the secret that [`Encapsulate`](super::Encapsulate) made. The error is `Rejected` if the length is wrong.
#[derive(Clone, Serialize, Deserialize)]
pub struct Decapsulate {
    /// The key pair.
    pub material: Arc<Material>,
    /// The ciphertext that came with the secret.
    #[serde(with = "bytes")]
    pub ciphertext: Vec<u8>,
}

impl Perform for Decapsulate {
    type Answer = SecretBytes;

    const JUDGES_DATA: bool = true;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<SecretBytes, HsmError> {
        context.calls.decapsulate(self.material.spec, context.key()?, &self.ciphertext)
    }
}
