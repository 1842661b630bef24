//! Decrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, ciphertext::Source, end_dry_run, recipient::Recipient, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, material::MaterialId, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    request::{Ciphertext, DryRunModifiers, GrantTokens, KeyText, request},
    secret::SecretBytes,
};

request! {
    /// Decrypts a ciphertext of Encrypt, GenerateDataKey, ReEncrypt, or of the public half of an RSA key.
    Decrypt {
        blob: Ciphertext = optional "CiphertextBlob",
        context: EncryptionContext = default "EncryptionContext",
        grant_tokens: GrantTokens = default "GrantTokens",
        key_id: KeyText = optional "KeyId",
        algorithm: EncryptionAlgorithm = optional "EncryptionAlgorithm",
        recipient: Recipient = default "Recipient",
        dry_run: bool = default "DryRun",
        modifiers: DryRunModifiers = default "DryRunModifiers",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecryptResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_for_recipient: Option<Base64<Vec<u8>>>,
    encryption_algorithm: EncryptionAlgorithm,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Base64<SecretBytes>>,
}

impl Operation for Decrypt {
    const NAME: &'static str = "Decrypt";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::IncorrectKeyException,
        Code::InvalidCiphertextException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = DecryptResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DecryptResponse, KmsError> {
        let algorithm = self.algorithm.unwrap_or(EncryptionAlgorithm::SymmetricDefault);
        let blob = self.modifiers.blob(self.dry_run, self.blob, "ciphertextBlob")?;
        let key = self.key_id.map(|text| text.0);
        let source = Source { key, blob, context: Arc::new(self.context), algorithm };
        source.check("keyId")?;
        let addressee = self.recipient.attest(cx).await?;
        let wanted = GrantOperation::Decrypt;
        let recipient = addressee.measurements();
        let openable = source.openable(cx, Self::NAME, wanted, recipient, &self.grant_tokens.0).await?;
        end_dry_run(self.dry_run)?;
        let (key, opened) = openable.open(cx).await?;
        let handed = addressee.hand_over(cx, opened.plaintext).await?;
        Ok(DecryptResponse {
            key_id: key.arn().to_owned(),
            plaintext: handed.plaintext,
            encryption_algorithm: algorithm,
            ciphertext_for_recipient: handed.for_recipient,
            key_material_id: addressee.in_clear(opened.material),
        })
    }
}
