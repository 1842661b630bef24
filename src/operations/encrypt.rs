//! Encrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, ciphertext::refuse_context, end_dry_run, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, Plaintext, request},
};

request! {
    /// Encrypts up to 4,096 bytes.
    Encrypt {
        key_id: KeyText = required "KeyId",
        plaintext: Plaintext = required "Plaintext",
        context: EncryptionContext = default "EncryptionContext",
        grant_tokens: GrantTokens = default "GrantTokens",
        algorithm: EncryptionAlgorithm = optional "EncryptionAlgorithm",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptResponse {
    ciphertext_blob: Base64<Vec<u8>>,
    encryption_algorithm: EncryptionAlgorithm,
    key_id: String,
}

impl Operation for Encrypt {
    const NAME: &'static str = "Encrypt";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = EncryptResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EncryptResponse, KmsError> {
        let algorithm = self.algorithm.unwrap_or(EncryptionAlgorithm::SymmetricDefault);
        refuse_context(algorithm, &self.context)?;
        let context = Arc::new(self.context);
        let facts = Arc::new(RequestFacts::of_encryption(&context, algorithm));
        let key = cx.authorize_use(GrantOperation::Encrypt, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, algorithm)?;
        key.fits(self.plaintext.0.len())?;
        end_dry_run(self.dry_run)?;
        let ciphertext = cx.encrypt(&key, &context, self.plaintext.0).await?;
        Ok(EncryptResponse {
            ciphertext_blob: Base64(ciphertext),
            key_id: key.arn().to_owned(),
            encryption_algorithm: algorithm,
        })
    }
}
