//! Encapsulate: a secret for the holder of the private key.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{algorithm::EncapsulationAlgorithm, grant::GrantOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, request},
    secret::SecretBytes,
};

request! {
    /// Makes a secret of 32 bytes, and a ciphertext that the private key makes the same secret of.
    Encapsulate {
        key_id: KeyText = required "KeyId",
        algorithm: EncapsulationAlgorithm = required "EncapsulationAlgorithm",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncapsulateResponse {
    encapsulation_algorithm: EncapsulationAlgorithm,
    key_id: String,
    shared_secret: Base64<SecretBytes>,
    shared_secret_ciphertext_blob: Base64<Vec<u8>>,
}

impl Operation for Encapsulate {
    const NAME: &'static str = "Encapsulate";
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
    type Response = EncapsulateResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EncapsulateResponse, KmsError> {
        let facts = Arc::new(RequestFacts::default());
        let key = cx.authorize_use(GrantOperation::Encapsulate, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        end_dry_run(self.dry_run)?;
        let made = cx.encapsulate(&key).await?;
        Ok(EncapsulateResponse {
            key_id: key.arn().to_owned(),
            shared_secret: Base64(made.secret),
            shared_secret_ciphertext_blob: Base64(made.ciphertext),
            encapsulation_algorithm: self.algorithm,
        })
    }
}
