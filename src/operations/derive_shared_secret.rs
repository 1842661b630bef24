//! DeriveSharedSecret: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeriveSharedSecret.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, recipient::Recipient, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{Origin, algorithm::KeyAgreementAlgorithm, grant::GrantOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Blob, GrantTokens, KeyText, request},
    secret::SecretBytes,
};

/// A public key in DER (SubjectPublicKeyInfo), at most 8,192 bytes.
type PublicKeyType = Blob<1, 8192>;

request! {
    /// The x coordinate that the key and another's public key come to, without a key derivation function.
    DeriveSharedSecret {
        key_id: KeyText = required "KeyId",
        algorithm: KeyAgreementAlgorithm = required "KeyAgreementAlgorithm",
        public_key: PublicKeyType = required "PublicKey",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
        recipient: Recipient = default "Recipient",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeriveSharedSecretResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_for_recipient: Option<Base64<Vec<u8>>>,
    key_agreement_algorithm: KeyAgreementAlgorithm,
    key_id: String,
    key_origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_secret: Option<Base64<SecretBytes>>,
}

impl Operation for DeriveSharedSecret {
    const NAME: &'static str = "DeriveSharedSecret";
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
    type Response = DeriveSharedSecretResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DeriveSharedSecretResponse, KmsError> {
        let addressee = self.recipient.attest(cx).await?;
        let facts = Arc::new(RequestFacts {
            key_agreement_algorithm: Some(self.algorithm),
            recipient: addressee.measurements(),
            ..RequestFacts::default()
        });
        let key =
            cx.authorize_use(GrantOperation::DeriveSharedSecret, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        end_dry_run(self.dry_run)?;
        let secret = cx.agree(&key, self.public_key.0.expose().to_vec()).await?;
        let handed = addressee.hand_over(cx, secret).await?;
        Ok(DeriveSharedSecretResponse {
            key_id: key.arn().to_owned(),
            shared_secret: handed.plaintext,
            ciphertext_for_recipient: handed.for_recipient,
            key_agreement_algorithm: self.algorithm,
            key_origin: key.key().origin(),
        })
    }
}
