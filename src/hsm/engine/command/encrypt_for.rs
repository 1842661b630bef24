//! RSAES-OAEP under a public key that is nobody's here.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::spec::EncryptionAlgorithm;
use crate::secret::SecretBytes;

use super::{Perform, RunContext};
use crate::hsm::engine::calls::public_key::RsaPublicKey;

/// Encrypts by RSAES-OAEP with SHA-256 under a public key that is nobody's here.
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptFor {
    /// The public key: DER SubjectPublicKeyInfo.
    #[serde(with = "bytes")]
    pub public_key: Vec<u8>,
    /// The plaintext.
    pub input: SecretBytes,
}

impl Perform for EncryptFor {
    type Answer = Vec<u8>;

    fn run(&self, context: &RunContext<'_>) -> Result<Vec<u8>, HsmError> {
        let oaep = context.oaep(EncryptionAlgorithm::RsaesOaepSha256)?;
        context.calls.oaep_encrypt_for(oaep, RsaPublicKey::from_spki(&self.public_key)?, self.input.expose())
    }
}
