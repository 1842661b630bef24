//! Sign: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>.
//!
//! EXTERNAL_MU is refused: PKCS#11 3.2 has no mechanism that takes a μ.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, response::Base64};
use crate::{
    access::Usable,
    error::{Code, KmsError},
    key::{
        algorithm::{MessageType, SigningAlgorithm, Unsignable},
        grant::GrantOperation,
        spec::KeySpec,
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, Plaintext, request},
    secret::SecretBytes,
};

request! {
    /// Signs up to 4,096 bytes, or a digest.
    Sign {
        key_id: KeyText = required "KeyId",
        message: Plaintext = required "Message",
        message_type: MessageType = optional "MessageType",
        grant_tokens: GrantTokens = default "GrantTokens",
        algorithm: SigningAlgorithm = required "SigningAlgorithm",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SignResponse {
    key_id: String,
    signature: Base64<Vec<u8>>,
    signing_algorithm: SigningAlgorithm,
}

impl Operation for Sign {
    const NAME: &'static str = "Sign";
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
    type Response = SignResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<SignResponse, KmsError> {
        let facts = Arc::new(RequestFacts {
            signing_algorithm: Some(self.algorithm),
            message_type: Some(self.message_type.unwrap_or(MessageType::Raw)),
            ..RequestFacts::default()
        });
        let key = cx.authorize_use(GrantOperation::Sign, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        let input = to_sign(&key, self.message_type, &self.message.0)?;
        cx.demand_signing(&key)?;
        end_dry_run(self.dry_run)?;
        let signature = cx.sign(&key, input).await?;
        Ok(SignResponse {
            key_id: key.arn().to_owned(),
            signature: Base64(signature),
            signing_algorithm: self.algorithm,
        })
    }
}

/// The digest or the message that is signed.
///
/// # Errors
/// `ValidationException` if the message is not of its type, or the algorithm takes none of that type; and for a μ, for which
/// PKCS#11 has no mechanism.
pub fn to_sign(
    key: &Usable<SigningAlgorithm>,
    message_type: Option<MessageType>,
    message: &SecretBytes,
) -> Result<Vec<u8>, KmsError> {
    let algorithm = key.algorithm();
    let spec = key.key().spec();
    let message_type = message_type.unwrap_or(MessageType::Raw);
    let input = algorithm.input(message_type, message.expose()).map_err(|unsignable| match unsignable {
        Unsignable::Length => format!("Digest is invalid length for algorithm {algorithm}."),
        // Its two algorithms take another type each.
        Unsignable::Type if spec == KeySpec::EccNistEdwards25519 => {
            format!("Message type {message_type} is incompatible with algorithm {algorithm}.")
        }
        Unsignable::Type => format!("Message type {message_type} is incompatible with key spec {spec}."),
    });
    let input = input.map_err(KmsError::invalid)?;
    match message_type {
        MessageType::ExternalMu => {
            Err(KmsError::invalid("MessageType EXTERNAL_MU is not supported: PKCS#11 has no mechanism for it."))
        }
        MessageType::Raw | MessageType::Digest => Ok(input),
    }
}
