//! RSAES-OAEP under a public key that is nobody's here.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::spec::EncryptionAlgorithm;
use crate::secret::SecretBytes;

use super::{Attempt, Perform};
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

    fn run(&self, attempt: &Attempt<'_>) -> Result<Vec<u8>, HsmError> {
        let oaep = attempt.oaep(EncryptionAlgorithm::RsaesOaepSha256)?;
        attempt.line.oaep_encrypt_for(oaep, RsaPublicKey::from_spki(&self.public_key)?, self.input.expose())
    }
}
