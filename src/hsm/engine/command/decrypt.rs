//! RSAES-OAEP with the private half of a key pair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;
use crate::key::spec::EncryptionAlgorithm;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};
use crate::hsm::engine::calls::objects::rsa_public_key;

/// Decrypts by RSAES-OAEP with the private half.
#[derive(Clone, Serialize, Deserialize)]
pub struct Decrypt {
    /// The key pair.
    pub material: Arc<Material>,
    /// Which OAEP.
    pub algorithm: EncryptionAlgorithm,
    /// The ciphertext.
    #[serde(with = "bytes")]
    pub ciphertext: Vec<u8>,
}

impl Perform for Decrypt {
    type Answer = SecretBytes;

    const JUDGES_DATA: bool = true;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<SecretBytes, HsmError> {
        let public = rsa_public_key(&self.material)?;
        let oaep = context.oaep(self.algorithm)?;
        context.twice(|| context.calls.oaep_decrypt(oaep, context.key()?, &public, &self.ciphertext))
    }
}
