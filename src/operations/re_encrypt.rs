//! ReEncrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html>.
//!
//! PKCS#11 has no call that decrypts and encrypts again, so the plaintext passes through this process, as a secret.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Operation,
    ciphertext::{Source, refuse_context},
    end_dry_run,
    response::Base64,
};
use crate::{
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, material::MaterialId, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Ciphertext, DryRunModifiers, GrantTokens, KeyText, request},
};

request! {
    /// Decrypts under one key and encrypts under another.
    ReEncrypt {
        blob: Ciphertext = optional "CiphertextBlob",
        source_context: EncryptionContext = default "SourceEncryptionContext",
        source_key_id: KeyText = optional "SourceKeyId",
        destination_key_id: KeyText = required "DestinationKeyId",
        destination_context: EncryptionContext = default "DestinationEncryptionContext",
        source_algorithm: EncryptionAlgorithm = optional "SourceEncryptionAlgorithm",
        destination_algorithm: EncryptionAlgorithm = optional "DestinationEncryptionAlgorithm",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
        modifiers: DryRunModifiers = default "DryRunModifiers",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncryptResponse {
    ciphertext_blob: Base64<Vec<u8>>,
    destination_encryption_algorithm: EncryptionAlgorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_key_material_id: Option<MaterialId>,
    key_id: String,
    source_encryption_algorithm: EncryptionAlgorithm,
    source_key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_material_id: Option<MaterialId>,
}

impl Operation for ReEncrypt {
    const NAME: &'static str = "ReEncrypt";
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
    type Response = ReEncryptResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ReEncryptResponse, KmsError> {
        let symmetric = EncryptionAlgorithm::SymmetricDefault;
        let to = self.destination_algorithm.unwrap_or(symmetric);
        let from = self.source_algorithm.unwrap_or(symmetric);
        let blob = self.modifiers.blob(self.dry_run, self.blob, "ciphertextBlob")?;
        let key = self.source_key_id.map(|text| text.0);
        let source = Source { key, blob, context: Arc::new(self.source_context), algorithm: from };
        source.check("sourceKeyId")?;
        refuse_context(to, &self.destination_context)?;
        let from_source = GrantOperation::ReEncryptFrom;
        let openable = source.openable(cx, Self::NAME, from_source, None, &self.grant_tokens.0).await?;
        let context = Arc::new(self.destination_context);
        let facts = Arc::new(RequestFacts::of_encryption(&context, to));
        // The tokens have been proved with the source.
        let destination =
            cx.authorize_use(GrantOperation::ReEncryptTo, &self.destination_key_id.0, &facts, &[]).await?;
        let destination = destination.usable(Self::NAME, to)?;
        end_dry_run(self.dry_run)?;
        let (source, opened) = openable.open(cx).await?;
        destination.fits(opened.plaintext.len())?;
        let ciphertext = cx.encrypt(&destination, &context, opened.plaintext).await?;
        Ok(ReEncryptResponse {
            ciphertext_blob: Base64(ciphertext),
            source_key_id: source.arn().to_owned(),
            key_id: destination.arn().to_owned(),
            source_encryption_algorithm: from,
            destination_encryption_algorithm: to,
            source_key_material_id: opened.material,
            destination_key_material_id: destination.key().current_material_id(),
        })
    }
}
