//! DescribeKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, metadata::KeyMetadata};
use crate::{
    error::{Code, KmsError},
    key::grant::GrantOperation,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantTokens, KeyText, request},
};

request! {
    /// The metadata of a key.
    DescribeKey {
        key_id: KeyText = required "KeyId",
        grant_tokens: GrantTokens = default "GrantTokens",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeKeyResponse {
    key_metadata: KeyMetadata,
}

impl Operation for DescribeKey {
    const NAME: &'static str = "DescribeKey";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] =
        &[Code::DependencyTimeoutException, Code::InvalidArnException, Code::NotFoundException];
    type Response = DescribeKeyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DescribeKeyResponse, KmsError> {
        let facts = Arc::new(RequestFacts::default());
        let key = cx.authorize_use(GrantOperation::DescribeKey, &self.key_id.0, &facts, &self.grant_tokens.0).await?;
        Ok(DescribeKeyResponse { key_metadata: KeyMetadata::of(key.key(), cx).kept_in(key.key_store()) })
    }
}
