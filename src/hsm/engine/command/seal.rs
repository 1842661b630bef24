//! AES-256-GCM with a fresh 96-bit IV.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fair_queue::CostClass;
use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext, Sealed};

/// Encrypts under AES-256-GCM with a fresh 96-bit IV.
#[derive(Clone, Serialize, Deserialize)]
pub struct Seal {
    /// The AES key.
    pub material: Arc<Material>,
    /// The additional data that is authenticated beside the plaintext.
    #[serde(with = "bytes")]
    pub aad: Vec<u8>,
    /// The plaintext.
    pub input: SecretBytes,
}

impl Perform for Seal {
    type Answer = Sealed;

    const CLASS: CostClass = CostClass::Aes;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Sealed, HsmError> {
        context.seal(&self.aad, &self.input)
    }
}
