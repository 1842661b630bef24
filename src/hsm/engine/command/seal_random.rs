//! Random bytes, and the same encrypted: a data key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fair_queue::CostClass;
use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext, Sealed};

/// Makes random bytes in the HSM and encrypts them as [`Seal`](super::Seal) does.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealRandom {
    /// The AES key.
    pub material: Arc<Material>,
    /// The additional data that is authenticated beside the plaintext.
    #[serde(with = "bytes")]
    pub aad: Vec<u8>,
    /// Number of random bytes.
    pub len: usize,
}

/// Random bytes and their ciphertext.
#[derive(Serialize, Deserialize)]
pub struct SealedRandom {
    /// The random bytes.
    pub plaintext: SecretBytes,
    /// The same, sealed.
    pub sealed: Sealed,
}

impl Perform for SealRandom {
    type Answer = SealedRandom;

    const CLASS: CostClass = CostClass::Aes;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<SealedRandom, HsmError> {
        let plaintext = context.calls.random(self.len)?;
        let sealed = context.seal(&self.aad, &plaintext)?;
        Ok(SealedRandom { plaintext, sealed })
    }
}
