//! Decapsulate: the secret that Encapsulate, or whoever has the public key, made.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{algorithm::EncapsulationAlgorithm, grant::GrantOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Ciphertext, GrantTokens, KeyText, request},
    secret::SecretBytes,
};

request! {
    /// Makes of a ciphertext the secret that it was made for. One that was made for another key gives another secret.
    Decapsulate {
        key_id: KeyText = required "KeyId",
        blob: Ciphertext = required "SharedSecretCiphertextBlob",
        algorithm: EncapsulationAlgorithm = required "EncapsulationAlgorithm",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecapsulateResponse {
    encapsulation_algorithm: EncapsulationAlgorithm,
    key_id: String,
    shared_secret: Base64<SecretBytes>,
}

impl Operation for Decapsulate {
    const NAME: &'static str = "Decapsulate";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidCiphertextException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = DecapsulateResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DecapsulateResponse, KmsError> {
        let facts = Arc::new(RequestFacts::default());
        let key = cx.authorize_use(GrantOperation::Decapsulate, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        end_dry_run(self.dry_run)?;
        let secret = cx.decapsulate(&key, self.blob.0.expose().to_vec()).await?;
        Ok(DecapsulateResponse {
            key_id: key.arn().to_owned(),
            shared_secret: Base64(secret),
            encapsulation_algorithm: self.algorithm,
        })
    }
}
