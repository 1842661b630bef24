//! GenerateDataKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, recipient::Recipient, response::Base64};
use crate::{
    access::{Authorized, Usable},
    error::{Code, KmsError},
    key::{
        context::EncryptionContext,
        grant::GrantOperation,
        material::MaterialId,
        spec::{EncryptionAlgorithm, KeyUsage},
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{DataKeySpec, GrantTokens, Int, KeyText, request},
    secret::SecretBytes,
};

request! {
    /// Makes a data key and answers it in clear and encrypted.
    GenerateDataKey {
        key_id: KeyText = required "KeyId",
        context: EncryptionContext = default "EncryptionContext",
        number_of_bytes: NumberOfBytes = optional "NumberOfBytes",
        key_spec: DataKeySpec = optional "KeySpec",
        grant_tokens: GrantTokens = default "GrantTokens",
        recipient: Recipient = default "Recipient",
        dry_run: bool = default "DryRun",
    }
}

/// NumberOfBytesType.
pub type NumberOfBytes = Int<1, 1024>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyResponse {
    ciphertext_blob: Base64<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_for_recipient: Option<Base64<Vec<u8>>>,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Base64<SecretBytes>>,
}

impl Operation for GenerateDataKey {
    const NAME: &'static str = "GenerateDataKey";
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
    type Response = GenerateDataKeyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateDataKeyResponse, KmsError> {
        let length = data_key_length(self.key_spec, self.number_of_bytes)?;
        let addressee = self.recipient.attest(cx).await?;
        let context = Arc::new(self.context);
        let facts = Arc::new(RequestFacts {
            recipient: addressee.measurements(),
            ..RequestFacts::of_encryption(&context, EncryptionAlgorithm::SymmetricDefault)
        });
        let key =
            cx.authorize_use(GrantOperation::GenerateDataKey, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = to_seal_data_keys(key, Self::NAME)?;
        end_dry_run(self.dry_run)?;
        let data_key = cx.generate_data_key(&key, &context, length).await?;
        let handed = addressee.hand_over(cx, data_key.plaintext).await?;
        Ok(GenerateDataKeyResponse {
            ciphertext_blob: Base64(data_key.ciphertext_blob),
            plaintext: handed.plaintext,
            ciphertext_for_recipient: handed.for_recipient,
            key_id: key.arn().to_owned(),
            key_material_id: addressee.in_clear(key.key().current_material_id()),
        })
    }
}

/// The key, ready for `operation` to make data keys under it.
///
/// # Errors
/// As [`Authorized::demand_usage`], then `InvalidKeyUsageException` for a key pair.
pub fn to_seal_data_keys(key: Authorized, operation: &str) -> Result<Usable, KmsError> {
    key.demand_usage(operation, KeyUsage::EncryptDecrypt)?;
    if key.key().spec().is_asymmetric() {
        let text = "You cannot generate a data key with an asymmetric CMK";
        return Err(KmsError::new(Code::InvalidKeyUsageException, text));
    }
    key.usable(operation, EncryptionAlgorithm::SymmetricDefault)
}

/// Length of a data key in bytes, from exactly one of the two ways to say it.
///
/// # Errors
/// `ValidationException` for none or both.
pub fn data_key_length(spec: Option<DataKeySpec>, bytes: Option<NumberOfBytes>) -> Result<usize, KmsError> {
    match (spec, bytes) {
        (Some(DataKeySpec::Aes128), None) => Ok(16),
        (Some(DataKeySpec::Aes256), None) => Ok(32),
        (None, Some(Int(bytes))) => usize::try_from(bytes).map_err(KmsError::internal),
        _ => Err(KmsError::invalid("Please specify either number of bytes or key spec.")),
    }
}
