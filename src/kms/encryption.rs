//! Plaintext ↔ ciphertext blob, in the HSM. Every function takes a [`Usable`]: no permission, no HSM call.

use std::time::Instant;

use crate::{
    access::Usable,
    action::Action,
    envelope::{Envelope, Header},
    error::{Code, KmsError},
    failure,
    hsm::command::{Command, Decrypt, Encrypt, Open, Random, Seal, SealRandom, Sealed, SealedRandom},
    key::{
        Key,
        context::EncryptionContext,
        custom_store::KeyStoreId,
        material::{Material, MaterialId},
        spec::EncryptionAlgorithm,
    },
    kms::cx::Cx,
    secret::SecretBytes,
};

/// A data key and its ciphertext.
pub struct DataKey {
    /// The data key itself.
    pub plaintext: SecretBytes,
    /// The data key under the KMS key.
    pub ciphertext_blob: Vec<u8>,
}

/// The result of Decrypt.
pub struct Opened {
    /// The plaintext.
    pub plaintext: SecretBytes,
    /// The material it was encrypted under, of keys whose materials are named.
    pub material: Option<MaterialId>,
}

/// Actions that let a plaintext be encrypted under a key.
const ENCRYPTING: [Action; 4] =
    [Action::Encrypt, Action::ReEncryptTo, Action::GenerateDataKeyPair, Action::GenerateDataKeyPairWithoutPlaintext];

/// Actions that let a data key be made under a key.
const MAKING_DATA_KEYS: [Action; 2] = [Action::GenerateDataKey, Action::GenerateDataKeyWithoutPlaintext];

/// Actions that let a ciphertext be opened.
const DECRYPTING: [Action; 2] = [Action::Decrypt, Action::ReEncryptFrom];

impl Cx<'_> {
    /// Encrypts `plaintext`: a blob of our own for a symmetric key, bare RSAES-OAEP for an RSA key.
    ///
    /// # Errors
    /// As the HSM answers; `KMSInvalidStateException` when the material may make no more ciphertexts.
    pub async fn encrypt(
        &self,
        key: &Usable,
        context: &EncryptionContext,
        plaintext: SecretBytes,
    ) -> Result<Vec<u8>, KmsError> {
        if key.algorithm() == EncryptionAlgorithm::SymmetricDefault {
            return self.seal(key, context, plaintext, self.deadline()).await;
        }
        let material = key.material_for(&ENCRYPTING)?;
        self.call(key.key(), Encrypt { material, algorithm: key.algorithm(), input: plaintext }).await
    }

    /// Encrypts under a symmetric key, by the deadline.
    pub(super) async fn seal(
        &self,
        key: &Usable,
        context: &EncryptionContext,
        plaintext: SecretBytes,
        deadline: Instant,
    ) -> Result<Vec<u8>, KmsError> {
        let material = key.material_for(&ENCRYPTING)?;
        let header = self.next_header(key, &material).await?;
        let command = Seal { material, aad: header.aad(context), input: plaintext };
        let sealed = self.kms.hsm_of(key.key())?.call_for(self.asker(), command, deadline).await;
        Ok(blob(header, sealed.map_err(failure::hsm)?))
    }

    /// Makes a data key of `length` bytes in the HSM and encrypts it under `key`.
    ///
    /// # Errors
    /// As [`Self::encrypt`].
    pub async fn generate_data_key(
        &self,
        key: &Usable,
        context: &EncryptionContext,
        length: usize,
    ) -> Result<DataKey, KmsError> {
        let material = key.material_for(&MAKING_DATA_KEYS)?;
        let header = self.next_header(key, &material).await?;
        let command = SealRandom { material, aad: header.aad(context), len: length };
        let SealedRandom { plaintext, sealed } = self.call(key.key(), command).await?;
        Ok(DataKey { plaintext, ciphertext_blob: blob(header, sealed) })
    }

    /// Opens an envelope that names `key`.
    ///
    /// # Errors
    /// `InvalidCiphertextException`, without a message and for whatever reason; else as the HSM answers.
    pub async fn open(
        &self,
        key: &Usable,
        context: &EncryptionContext,
        envelope: Envelope,
    ) -> Result<Opened, KmsError> {
        let Envelope { header, iv, ciphertext } = envelope;
        let material = key.material_named(header.material, &DECRYPTING)?.filter(|_| header.key == key.key().id());
        let material = material.ok_or_else(|| KmsError::bare(Code::InvalidCiphertextException))?;
        let command = Open { material, aad: header.aad(context), iv, ciphertext };
        let plaintext = self.call_about_ciphertext(key.key(), command).await?;
        Ok(Opened { plaintext, material: key.key().names_materials().then_some(header.material) })
    }

    /// Decrypts a bare RSAES-OAEP ciphertext.
    ///
    /// # Errors
    /// As [`Self::open`]; `ThrottlingException` for a caller who fails too often.
    pub async fn decrypt_rsa(&self, key: &Usable, ciphertext: Vec<u8>) -> Result<Opened, KmsError> {
        let attempt = self.attempt(key.key().id(), self.deadline()).await?;
        let command = Decrypt { material: key.material_for(&DECRYPTING)?, algorithm: key.algorithm(), ciphertext };
        let plaintext = attempt.conclude(self.call_about_ciphertext(key.key(), command).await)?;
        Ok(Opened { plaintext, material: None })
    }

    /// Random bytes of the HSM, or of that of a custom key store; asks for no key, so the caller has been authorized for
    /// GenerateRandom alone.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn random(&self, key_store: Option<&KeyStoreId>, length: usize) -> Result<SecretBytes, KmsError> {
        let hsm = self.kms.hsm_in(key_store)?;
        let random = hsm.call_for(self.asker(), Random { len: length }, self.deadline()).await;
        random.map_err(failure::hsm_about_making)
    }

    /// The header of the next ciphertext under the current material, once it is counted.
    async fn next_header(&self, key: &Usable, material: &Material) -> Result<Header, KmsError> {
        let material = material.id;
        if self.kms.invocations.take(material).await? {
            self.kms.worn.note(key.key(), material);
        }
        Ok(Header { key: key.key().id(), material })
    }

    /// A command with material of `key`, to the HSM that has it.
    pub(super) async fn call<C: Command>(&self, key: &Key, command: C) -> Result<C::Answer, KmsError> {
        self.kms.hsm_of(key)?.call_for(self.asker(), command, self.deadline()).await.map_err(failure::hsm)
    }

    async fn call_about_ciphertext<C: Command>(&self, key: &Key, command: C) -> Result<C::Answer, KmsError> {
        let answer = self.kms.hsm_of(key)?.call_for(self.asker(), command, self.deadline()).await;
        answer.map_err(failure::hsm_about_ciphertext)
    }
}

fn blob(header: Header, Sealed { iv, ciphertext }: Sealed) -> Vec<u8> {
    Envelope { header, iv, ciphertext }.encode()
}
