//! RSAES-OAEP with the public half of a key pair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::Material;
use crate::key::spec::EncryptionAlgorithm;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};
use crate::hsm::engine::calls::objects::rsa_public_key;

/// Encrypts by RSAES-OAEP with the public half.
#[derive(Clone, Serialize, Deserialize)]
pub struct Encrypt {
    /// The key pair.
    pub material: Arc<Material>,
    /// Which OAEP.
    pub algorithm: EncryptionAlgorithm,
    /// The plaintext.
    pub input: SecretBytes,
}

impl Perform for Encrypt {
    type Answer = Vec<u8>;

    fn needs(&self) -> Needs<'_> {
        Needs::PublicHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Vec<u8>, HsmError> {
        let public = rsa_public_key(&self.material)?;
        let oaep = context.oaep(self.algorithm)?;
        context.calls.oaep_encrypt(oaep, context.key()?, &public, self.input.expose())
    }
}
