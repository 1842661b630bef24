//! GenerateDataKeyWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Operation, end_dry_run,
    generate_data_key::{NumberOfBytes, data_key_length, to_seal_data_keys},
    response::Base64,
};
use crate::{
    error::{Code, KmsError},
    key::{context::EncryptionContext, grant::GrantOperation, material::MaterialId, spec::EncryptionAlgorithm},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{DataKeySpec, GrantTokens, KeyText, request},
};

request! {
    /// Makes a data key and answers it encrypted only.
    GenerateDataKeyWithoutPlaintext {
        key_id: KeyText = required "KeyId",
        context: EncryptionContext = default "EncryptionContext",
        key_spec: DataKeySpec = optional "KeySpec",
        number_of_bytes: NumberOfBytes = optional "NumberOfBytes",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyWithoutPlaintextResponse {
    ciphertext_blob: Base64<Vec<u8>>,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
}

impl Operation for GenerateDataKeyWithoutPlaintext {
    const NAME: &'static str = "GenerateDataKeyWithoutPlaintext";
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
    type Response = GenerateDataKeyWithoutPlaintextResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateDataKeyWithoutPlaintextResponse, KmsError> {
        let length = data_key_length(self.key_spec, self.number_of_bytes)?;
        let context = Arc::new(self.context);
        let facts = Arc::new(RequestFacts::of_encryption(&context, EncryptionAlgorithm::SymmetricDefault));
        let key = cx
            .authorize_use(
                GrantOperation::GenerateDataKeyWithoutPlaintext,
                &self.key_id.0,
                &facts,
                &self.grant_tokens.0,
            )
            .await?;
        let key = to_seal_data_keys(key, Self::NAME)?;
        end_dry_run(self.dry_run)?;
        let data_key = cx.generate_data_key(&key, &context, length).await?;
        Ok(GenerateDataKeyWithoutPlaintextResponse {
            ciphertext_blob: Base64(data_key.ciphertext_blob),
            key_id: key.arn().to_owned(),
            key_material_id: key.key().current_material_id(),
        })
    }
}
