//! Uses of keys in the HSM other than encryption. Every function takes a [`Usable`]: no permission, no HSM call.

use std::time::Instant;

use crate::{
    access::{self, Usable},
    action::Action,
    error::{Code, KmsError},
    failure,
    hsm::{
        HsmError, Kind,
        command::{Agree, Command, Decapsulate, Encapsulate, GeneratePair, Mac, Sign, Verify, VerifyMac},
    },
    key::{
        Key,
        algorithm::{Algorithm, EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm},
        context::EncryptionContext,
        spec::{EncryptionAlgorithm, KeySpec},
    },
    kms::cx::Cx,
    secret::SecretBytes,
};

pub use crate::hsm::command::{DataKeyPair, Encapsulated};

impl Cx<'_> {
    /// The algorithms by which the HSM of a key signs with it, in the order in which AWS lists them.
    pub fn signing_algorithms(&self, key: &Key) -> Vec<SigningAlgorithm> {
        // Where its HSM is not open, nothing is said that might not be so.
        let hsm = self.kms.hsm_of(key).ok();
        let signs = |algorithm: SigningAlgorithm| match &hsm {
            Some(hsm) => hsm.signs(algorithm),
            None => algorithm.is_of_every_hsm(),
        };
        SigningAlgorithm::of(key.spec()).iter().copied().filter(|algorithm| signs(*algorithm)).collect()
    }

    /// Those by which it encrypts.
    pub fn encryption_algorithms(&self, key: &Key) -> Vec<EncryptionAlgorithm> {
        let hsm = self.kms.hsm_of(key).ok();
        let encrypts = |algorithm: &EncryptionAlgorithm| hsm.as_ref().is_none_or(|hsm| hsm.encrypts(*algorithm));
        EncryptionAlgorithm::of(key.spec()).iter().copied().filter(encrypts).collect()
    }

    /// Checks that the HSM can sign so with this key.
    ///
    /// # Errors
    /// `InvalidKeyUsageException`, as for an algorithm of another key spec.
    pub fn demand_signing(&self, key: &Usable<SigningAlgorithm>) -> Result<(), KmsError> {
        match self.signing_algorithms(key.key()).contains(&key.algorithm()) {
            true => Ok(()),
            false => Err(access::incompatible(key.algorithm(), key.key().spec())),
        }
    }

    /// Signs what the algorithm makes of the message.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn sign(&self, key: &Usable<SigningAlgorithm>, input: Vec<u8>) -> Result<Vec<u8>, KmsError> {
        let command = Sign { material: key.material_for(&[Action::Sign])?, algorithm: key.algorithm(), input };
        self.call(key.key(), command).await
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// `KMSInvalidSignatureException`, without a message and for whatever reason; else as the HSM answers.
    pub async fn verify(
        &self,
        key: &Usable<SigningAlgorithm>,
        input: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), KmsError> {
        let material = key.material_for(&[Action::Verify])?;
        let algorithm = key.algorithm();
        let command = Verify { material, algorithm, input, signature };
        let blames = |_: HsmError| KmsError::bare(Code::KMSInvalidSignatureException);
        self.judge(key.key(), command, blames).await
    }

    /// The MAC of a message.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn mac(&self, key: &Usable<MacAlgorithm>, message: SecretBytes) -> Result<Vec<u8>, KmsError> {
        let material = key.material_for(&[Action::GenerateMac])?;
        let algorithm = key.algorithm();
        self.call(key.key(), Mac { material, algorithm, input: message }).await
    }

    /// Verifies a MAC.
    ///
    /// # Errors
    /// `KMSInvalidMacException`, without a message; else as the HSM answers.
    pub async fn verify_mac(
        &self,
        key: &Usable<MacAlgorithm>,
        message: SecretBytes,
        mac: Vec<u8>,
    ) -> Result<(), KmsError> {
        let material = key.material_for(&[Action::VerifyMac])?;
        let algorithm = key.algorithm();
        let command = VerifyMac { material, algorithm, input: message, mac };
        self.judge(key.key(), command, |_| KmsError::bare(Code::KMSInvalidMacException)).await
    }

    /// The secret that the key and another's public key come to.
    ///
    /// # Errors
    /// `ValidationException`, without a message, for a public key that is not of the curve; else as the HSM answers.
    pub async fn agree(
        &self,
        key: &Usable<KeyAgreementAlgorithm>,
        public_key: Vec<u8>,
    ) -> Result<SecretBytes, KmsError> {
        let command = Agree { material: key.material_for(&[Action::DeriveSharedSecret])?, public_key };
        self.judge(key.key(), command, |_| KmsError::bare(Code::ValidationException)).await
    }

    /// A secret for the holder of the private key.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn encapsulate(&self, key: &Usable<EncapsulationAlgorithm>) -> Result<Encapsulated, KmsError> {
        self.call(key.key(), Encapsulate { material: key.material_for(&[Action::Encapsulate])? }).await
    }

    /// The secret that a ciphertext was made for.
    ///
    /// # Errors
    /// `InvalidCiphertextException` for one of the wrong length; else as the HSM answers.
    pub async fn decapsulate(
        &self,
        key: &Usable<EncapsulationAlgorithm>,
        ciphertext: Vec<u8>,
    ) -> Result<SecretBytes, KmsError> {
        let command = Decapsulate { material: key.material_for(&[Action::Decapsulate])?, ciphertext };
        self.judge(key.key(), command, |_| KmsError::bare(Code::InvalidCiphertextException)).await
    }

    /// Makes a key pair that is the caller's, and encrypts its private half under `key` as Encrypt does.
    ///
    /// # Errors
    /// `UnsupportedOperationException` if the HSM makes no such pairs; else as it answers.
    pub async fn generate_pair(
        &self,
        key: &Usable<EncryptionAlgorithm>,
        spec: KeySpec,
        context: &EncryptionContext,
    ) -> Result<(DataKeyPair, Vec<u8>), KmsError> {
        let deadline = Instant::now() + self.kms.settings.generation_deadline;
        let pair = self.kms.hsm_of(key.key())?.call_for(self.asker(), GeneratePair { spec }, deadline).await;
        let pair = pair.map_err(failure::hsm_about_making)?;
        let plaintext = SecretBytes::from(pair.private_key.expose().to_vec());
        // An RSA pair may have taken longer than any request may; the time for encrypting begins now.
        let deadline = Instant::now() + self.kms.settings.deadline;
        let sealed = self.seal(key, context, plaintext, deadline).await?;
        Ok((pair, sealed))
    }

    /// A command that judges the caller's data: what it rejects is the caller's fault.
    async fn judge<C: Command>(
        &self,
        key: &Key,
        command: C,
        blames: fn(HsmError) -> KmsError,
    ) -> Result<C::Answer, KmsError> {
        let answer = self.kms.hsm_of(key)?.call_for(self.asker(), command, self.deadline()).await;
        answer.map_err(|error| match error.kind {
            Kind::Rejected => blames(error),
            _ => failure::hsm(error),
        })
    }
}
