//! VerifyMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_VerifyMac.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run};
use crate::{
    error::{Code, KmsError},
    key::{algorithm::MacAlgorithm, grant::GrantOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Ciphertext, GrantTokens, KeyText, Plaintext, request},
};

request! {
    /// Verifies a MAC of GenerateMac.
    VerifyMac {
        message: Plaintext = required "Message",
        key_id: KeyText = required "KeyId",
        algorithm: MacAlgorithm = required "MacAlgorithm",
        mac: Ciphertext = required "Mac",
        grant_tokens: GrantTokens = default "GrantTokens",
        dry_run: bool = default "DryRun",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VerifyMacResponse {
    key_id: String,
    mac_algorithm: MacAlgorithm,
    /// Never false: that is an exception.
    mac_valid: bool,
}

impl Operation for VerifyMac {
    const NAME: &'static str = "VerifyMac";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidGrantTokenException,
        Code::InvalidKeyUsageException,
        Code::KMSInvalidMacException,
        Code::KMSInvalidStateException,
        Code::KeyUnavailableException,
        Code::NotFoundException,
    ];
    type Response = VerifyMacResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<VerifyMacResponse, KmsError> {
        let facts = Arc::new(RequestFacts { mac_algorithm: Some(self.algorithm), ..RequestFacts::default() });
        let key = cx.authorize_use(GrantOperation::VerifyMac, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        let key = key.usable(Self::NAME, self.algorithm)?;
        end_dry_run(self.dry_run)?;
        cx.verify_mac(&key, self.message.0, self.mac.0.expose().to_vec()).await?;
        Ok(VerifyMacResponse { key_id: key.arn().to_owned(), mac_valid: true, mac_algorithm: self.algorithm })
    }
}
