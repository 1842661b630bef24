//! GetPublicKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, metadata::Algorithms, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{
        algorithm::{EncapsulationAlgorithm, KeyAgreementAlgorithm, SigningAlgorithm},
        grant::GrantOperation,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        state::Demand,
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, request},
};

request! {
    /// The public half of a key pair.
    GetPublicKey {
        key_id: KeyText = required "KeyId",
        grant_tokens: GrantTokens = default "GrantTokens",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetPublicKeyResponse {
    customer_master_key_spec: KeySpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    encapsulation_algorithms: Option<&'static [EncapsulationAlgorithm]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_algorithms: Option<Vec<EncryptionAlgorithm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_agreement_algorithms: Option<&'static [KeyAgreementAlgorithm]>,
    key_id: String,
    key_spec: KeySpec,
    key_usage: KeyUsage,
    public_key: Base64<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_algorithms: Option<Vec<SigningAlgorithm>>,
}

impl Operation for GetPublicKey {
    const NAME: &'static str = "GetPublicKey";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::InvalidArnException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = GetPublicKeyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GetPublicKeyResponse, KmsError> {
        let facts = Arc::new(RequestFacts::default());
        let key = cx.authorize_use(GrantOperation::GetPublicKey, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        key.demand(Demand::Use)?;
        if !key.key().spec().is_asymmetric() {
            return Err(KmsError::bare(Code::UnsupportedOperationException));
        }
        let public_key = key.key().current_material().and_then(|material| material.public_key.clone());
        let public_key = public_key.ok_or_else(|| KmsError::bare(Code::KeyUnavailableException))?;
        let algorithms = Algorithms::of(key.key(), cx);
        Ok(GetPublicKeyResponse {
            key_id: key.arn().to_owned(),
            public_key: Base64(public_key),
            customer_master_key_spec: key.key().spec(),
            key_spec: key.key().spec(),
            key_usage: key.key().usage(),
            encapsulation_algorithms: algorithms.encapsulation,
            encryption_algorithms: algorithms.encryption,
            key_agreement_algorithms: algorithms.key_agreement,
            signing_algorithms: algorithms.signing,
        })
    }
}
