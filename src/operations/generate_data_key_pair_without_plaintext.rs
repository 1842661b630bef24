//! GenerateDataKeyPairWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPairWithoutPlaintext.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, generate_data_key_pair::makes_pairs, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, material::MaterialId, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{DataKeyPairSpec, GrantTokens, KeyText, request},
};

request! {
    /// Makes a key pair and answers its private key encrypted only.
    GenerateDataKeyPairWithoutPlaintext {
        context: EncryptionContext = default "EncryptionContext",
        key_id: KeyText = required "KeyId",
        pair_spec: DataKeyPairSpec = required "KeyPairSpec",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyPairWithoutPlaintextResponse {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
    key_pair_spec: DataKeyPairSpec,
    private_key_ciphertext_blob: Base64<Vec<u8>>,
    public_key: Base64<Vec<u8>>,
}

impl Operation for GenerateDataKeyPairWithoutPlaintext {
    const NAME: &'static str = "GenerateDataKeyPairWithoutPlaintext";
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
    type Response = GenerateDataKeyPairWithoutPlaintextResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateDataKeyPairWithoutPlaintextResponse, KmsError> {
        let context = Arc::new(self.context);
        let facts = Arc::new(RequestFacts {
            data_key_pair_spec: Some(self.pair_spec.key_spec()),
            ..RequestFacts::of_encryption(&context, EncryptionAlgorithm::SymmetricDefault)
        });
        let key = cx
            .authorize_use(
                GrantOperation::GenerateDataKeyPairWithoutPlaintext,
                &self.key_id.0,
                &facts,
                &self.grant_tokens.0,
            )
            .await?;
        let key = key.usable(Self::NAME, EncryptionAlgorithm::SymmetricDefault)?;
        makes_pairs(&key)?;
        end_dry_run(self.dry_run)?;
        let (pair, sealed) = cx.generate_pair(&key, self.pair_spec.key_spec(), &context).await?;
        Ok(GenerateDataKeyPairWithoutPlaintextResponse {
            private_key_ciphertext_blob: Base64(sealed),
            public_key: Base64(pair.public_key),
            key_id: key.arn().to_owned(),
            key_pair_spec: self.pair_spec,
            key_material_id: key.key().current_material_id(),
        })
    }
}
