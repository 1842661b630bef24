//! The inverse of `seal`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fair_queue::CostClass;
use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};

/// Decrypts what [`Seal`](super::Seal) made.
#[derive(Clone, Serialize, Deserialize)]
pub struct Open {
    /// The AES key.
    pub material: Arc<Material>,
    /// The additional data that was authenticated beside the plaintext.
    #[serde(with = "bytes")]
    pub aad: Vec<u8>,
    /// The IV of the ciphertext.
    pub iv: [u8; 12],
    /// The ciphertext with its 16-byte tag.
    #[serde(with = "bytes")]
    pub ciphertext: Vec<u8>,
}

impl Perform for Open {
    type Answer = SecretBytes;

    const CLASS: CostClass = CostClass::Aes;

    const JUDGES_DATA: bool = true;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<SecretBytes, HsmError> {
        context.twice(|| context.calls.open(context.key()?, self.iv, &self.aad, &self.ciphertext))
    }
}
