//! GenerateDataKeyPair: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPair.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, recipient::Recipient, response::Base64, wrong_origin};
use crate::{
    access::Usable,
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, material::MaterialId, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{DataKeyPairSpec, GrantTokens, KeyText, request},
    secret::SecretBytes,
};

request! {
    /// Makes a key pair and answers its private key in clear and encrypted.
    GenerateDataKeyPair {
        context: EncryptionContext = default "EncryptionContext",
        key_id: KeyText = required "KeyId",
        pair_spec: DataKeyPairSpec = required "KeyPairSpec",
        grant_tokens: GrantTokens = default "GrantTokens",
        recipient: Recipient = default "Recipient",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyPairResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_for_recipient: Option<Base64<Vec<u8>>>,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
    key_pair_spec: DataKeyPairSpec,
    private_key_ciphertext_blob: Base64<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_plaintext: Option<Base64<SecretBytes>>,
    public_key: Base64<Vec<u8>>,
}

impl Operation for GenerateDataKeyPair {
    const NAME: &'static str = "GenerateDataKeyPair";
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
        Code::UnsupportedOperationException,
    ];
    type Response = GenerateDataKeyPairResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateDataKeyPairResponse, KmsError> {
        let addressee = self.recipient.attest(cx).await?;
        let context = Arc::new(self.context);
        let facts = Arc::new(RequestFacts {
            data_key_pair_spec: Some(self.pair_spec.key_spec()),
            recipient: addressee.measurements(),
            ..RequestFacts::of_encryption(&context, EncryptionAlgorithm::SymmetricDefault)
        });
        let key =
            cx.authorize_use(GrantOperation::GenerateDataKeyPair, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, EncryptionAlgorithm::SymmetricDefault)?;
        makes_pairs(&key)?;
        end_dry_run(self.dry_run)?;
        let (pair, sealed) = cx.generate_pair(&key, self.pair_spec.key_spec(), &context).await?;
        let handed = addressee.hand_over(cx, pair.private_key).await?;
        Ok(GenerateDataKeyPairResponse {
            private_key_ciphertext_blob: Base64(sealed),
            private_key_plaintext: handed.plaintext,
            ciphertext_for_recipient: handed.for_recipient,
            public_key: Base64(pair.public_key),
            key_id: key.arn().to_owned(),
            key_pair_spec: self.pair_spec,
            key_material_id: addressee.in_clear(key.key().current_material_id()),
        })
    }
}

/// Checks that data key pairs can be made under the key, which they cannot in a custom key store.
///
/// # Errors
/// `UnsupportedOperationException`.
pub fn makes_pairs(key: &Usable) -> Result<(), KmsError> {
    match key.key().custom_key_store() {
        None => Ok(()),
        Some(_) => Err(wrong_origin(key.arn(), key.key().origin())),
    }
}
