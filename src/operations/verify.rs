//! Verify: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Verify.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, sign::to_sign};
use crate::{
    error::{Code, KmsError},
    key::{
        algorithm::{MessageType, SigningAlgorithm},
        grant::GrantOperation,
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Ciphertext, GrantTokens, KeyText, Plaintext, request},
};

request! {
    /// Verifies a signature of Sign.
    Verify {
        key_id: KeyText = required "KeyId",
        message: Plaintext = required "Message",
        message_type: MessageType = optional "MessageType",
        signature: Ciphertext = required "Signature",
        algorithm: SigningAlgorithm = required "SigningAlgorithm",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VerifyResponse {
    key_id: String,
    /// Never false: that is an exception.
    signature_valid: bool,
    signing_algorithm: SigningAlgorithm,
}

impl Operation for Verify {
    const NAME: &'static str = "Verify";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidSignatureException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = VerifyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<VerifyResponse, KmsError> {
        let facts = Arc::new(RequestFacts {
            signing_algorithm: Some(self.algorithm),
            message_type: Some(self.message_type.unwrap_or(MessageType::Raw)),
            ..RequestFacts::default()
        });
        let key = cx.authorize_use(GrantOperation::Verify, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        let input = to_sign(&key, self.message_type, &self.message.0)?;
        cx.demand_signing(&key)?;
        end_dry_run(self.dry_run)?;
        cx.verify(&key, input, self.signature.0.expose().to_vec()).await?;
        Ok(VerifyResponse { key_id: key.arn().to_owned(), signature_valid: true, signing_algorithm: self.algorithm })
    }
}
