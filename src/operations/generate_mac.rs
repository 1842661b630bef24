//! GenerateMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run, response::Base64};
use crate::{
    error::{Code, KmsError},
    key::{algorithm::MacAlgorithm, grant::GrantOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, Plaintext, request},
};

request! {
    /// The HMAC of up to 4,096 bytes.
    GenerateMac {
        message: Plaintext = required "Message",
        key_id: KeyText = required "KeyId",
        algorithm: MacAlgorithm = required "MacAlgorithm",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateMacResponse {
    key_id: String,
    mac: Base64<Vec<u8>>,
    mac_algorithm: MacAlgorithm,
}

impl Operation for GenerateMac {
    const NAME: &'static str = "GenerateMac";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = GenerateMacResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateMacResponse, KmsError> {
        let facts = Arc::new(RequestFacts { mac_algorithm: Some(self.algorithm), ..RequestFacts::default() });
        let key = cx.authorize_use(GrantOperation::GenerateMac, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        end_dry_run(self.dry_run)?;
        let mac = cx.mac(&key, self.message.0).await?;
        Ok(GenerateMacResponse { mac: Base64(mac), mac_algorithm: self.algorithm, key_id: key.arn().to_owned() })
    }
}
