//! DescribeKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>.

use serde::Serialize;

use super::{
    Operation,
    member::{GrantTokens, KeyText, request},
    metadata::KeyMetadata,
};
use crate::{action::Action, error::KmsError, kms::cx::Cx};

request! {
    /// What is to be known of a key.
    DescribeKey {
        key_id: KeyText = required "KeyId",
        _grant_tokens: GrantTokens = default "GrantTokens",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    key_metadata: KeyMetadata,
}

impl Operation for DescribeKey {
    const NAME: &'static str = "DescribeKey";
    const READ_ONLY: bool = true;
    type Answer = Answer;

    async fn run(self, cx: &Cx<'_>) -> Result<Answer, KmsError> {
        let key = cx.resolve(&self.key_id.0)?.authorize(cx.caller(), Action::DescribeKey)?;
        Ok(Answer { key_metadata: KeyMetadata::of(key.key(), cx.realm()) })
    }
}
