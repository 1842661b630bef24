//! Plaintexts that only an attested recipient can read. Encrypting for one takes an [`Attested`]: no attestation, no envelope.

use std::sync::Arc;

use crate::{
    attestation::{self, Attested, ContentKey},
    error::KmsError,
    failure,
    hsm::command::EncryptFor,
    kms::{cx::Cx, record},
    secret::SecretBytes,
};

impl Cx<'_> {
    /// The recipient that an attestation document speaks of; the audit record of the call shows it.
    ///
    /// # Errors
    /// `ValidationException` if no roots are configured, or none vouches for it.
    pub async fn attest(&self, document: Vec<u8>) -> Result<Attested, KmsError> {
        let roots = Arc::clone(&self.kms.settings.attestation_roots);
        if roots.is_empty() {
            return Err(KmsError::invalid("Recipient is not supported: no attestation roots are configured."));
        }
        let now = self.now();
        // Six signatures are milliseconds, in which this thread would serve nobody else.
        let verify = tokio::task::spawn_blocking(move || attestation::verify(&document, &roots, now));
        let attested = verify.await.map_err(KmsError::internal)?.map_err(failure::attestation)?;
        self.note_more("recipient", record::recipient(&attested));
        Ok(attested)
    }

    /// CiphertextForRecipient: `plaintext` in an envelope that only `recipient` can open. Its content key is random bytes of
    /// the HSM, and is encrypted there under the recipient's public key.
    ///
    /// # Errors
    /// `ValidationException` if the HSM does not do RSAES_OAEP_SHA_256 with this key; else as the HSM answers.
    pub async fn encrypt_for(&self, recipient: &Attested, plaintext: &SecretBytes) -> Result<Vec<u8>, KmsError> {
        let random = self.random(None, ContentKey::RANDOM_BYTES).await?;
        let content_key = ContentKey::from_random(&random);
        let content_key = content_key.ok_or_else(|| KmsError::internal("the HSM gave too few random bytes"))?;
        let public_key = recipient.public_key().to_vec();
        let command = EncryptFor { public_key, input: content_key.key().clone() };
        let encrypted_key = self.kms.hsm.call_for(self.asker(), command, self.deadline()).await;
        let encrypted_key = encrypted_key.map_err(failure::hsm_about_recipient)?;
        let envelope = recipient.envelope(encrypted_key, content_key, plaintext);
        envelope.ok_or_else(|| KmsError::internal("an envelope for a recipient does not encode"))
    }
}
