//! Recipient: the attested enclave that gets a plaintext in place of the caller. All operations that answer a plaintext go this way.
//!
//! Recipient (read) → [`Recipient::attest`], before the caller is authorized, since policies may ask for its measurements →
//! [`Addressee::hand_over`]. A Recipient is never ignored: if its document is not valid, the call fails.

use serde_json::Value;

use super::response::Base64;
use crate::{
    attestation::{Attested, Measurements},
    error::KmsError,
    kms::cx::Cx,
    request::{Blob, Faults, Json, KeyEncryptionAlgorithm, Member, Path, inner_required, structure},
    secret::SecretBytes,
};

/// RecipientInfo: an attestation document. An empty structure is none, as for AWS.
#[derive(Default)]
pub struct Recipient(Option<Vec<u8>>);

impl Member for Recipient {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        if structure(json, faults)?.is_empty() {
            return Some(Self(None));
        }
        let algorithm = inner_required::<KeyEncryptionAlgorithm>(json, path, "KeyEncryptionAlgorithm", faults);
        let document = inner_required::<Blob<1, 262_144>>(json, path, "AttestationDocument", faults);
        algorithm.and(document).map(|Blob(document)| Self(Some(document.expose().to_vec())))
    }

    /// The record shows what was attested instead.
    fn shown(&self) -> Option<Value> {
        None
    }
}

impl Recipient {
    /// The addressee of the plaintext: the enclave that the document attests or, without a document, the caller.
    ///
    /// # Errors
    /// `ValidationException` if the document attests nobody.
    pub async fn attest(self, cx: &Cx<'_>) -> Result<Addressee, KmsError> {
        Ok(match self.0 {
            None => Addressee::Caller,
            Some(document) => Addressee::Recipient(cx.attest(document).await?),
        })
    }
}

/// The addressee of a plaintext.
pub enum Addressee {
    /// The caller, in clear.
    Caller,
    /// A recipient that was attested, and nobody else.
    Recipient(Attested),
}

/// A plaintext as an answer has it: exactly one of the two.
pub struct HandedOver {
    /// For the caller.
    pub plaintext: Option<Base64<SecretBytes>>,
    /// CiphertextForRecipient.
    pub for_recipient: Option<Base64<Vec<u8>>>,
}

impl Addressee {
    /// Hands over a plaintext.
    ///
    /// # Errors
    /// As [`Cx::encrypt_for`].
    pub async fn hand_over(&self, cx: &Cx<'_>, plaintext: SecretBytes) -> Result<HandedOver, KmsError> {
        Ok(match self {
            Self::Caller => HandedOver { plaintext: Some(Base64(plaintext)), for_recipient: None },
            Self::Recipient(attested) => {
                let envelope = cx.encrypt_for(attested, &plaintext).await?;
                HandedOver { plaintext: None, for_recipient: Some(Base64(envelope)) }
            }
        })
    }

    /// Measurements of an attested recipient, as conditions of policies see them.
    pub fn measurements(&self) -> Option<Measurements> {
        match self {
            Self::Caller => None,
            Self::Recipient(attested) => Some(attested.measurements().clone()),
        }
    }

    /// A member that only a response with a plaintext in clear has: KeyMaterialId.
    pub fn in_clear<T>(&self, member: Option<T>) -> Option<T> {
        member.filter(|_| matches!(self, Self::Caller))
    }
}
