//! GetPublicKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html>.

use serde::Serialize;

use super::{
    Operation,
    answer::Base64,
    member::{GrantTokens, KeyText, request},
    metadata::Algorithms,
};
use crate::{
    error::{Code, KmsError},
    key::{
        grant::{Facts, GrantOperation},
        spec::{KeySpec, KeyUsage},
        state::Demand,
    },
    kms::cx::Cx,
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
pub struct Answer {
    key_id: String,
    public_key: Base64<Vec<u8>>,
    customer_master_key_spec: KeySpec,
    key_spec: KeySpec,
    key_usage: KeyUsage,
    #[serde(flatten)]
    algorithms: Algorithms,
}

impl Operation for GetPublicKey {
    const NAME: &'static str = "GetPublicKey";
    const READ_ONLY: bool = true;
    type Answer = Answer;

    async fn run(self, cx: &Cx<'_>) -> Result<Answer, KmsError> {
        let key = cx.resolve(&self.key_id.0)?;
        let key = cx.authorize_use(key, GrantOperation::GetPublicKey, Facts::Bare, &self.grant_tokens.0).await?;
        key.demand(Demand::Use)?;
        if !key.key().spec.is_asymmetric() {
            return Err(KmsError::bare(Code::UnsupportedOperationException));
        }
        let public_key = key.key().current_material().and_then(|material| material.public_key.clone());
        let public_key = public_key.ok_or_else(|| KmsError::bare(Code::KeyUnavailableException))?;
        Ok(Answer {
            key_id: key.arn().to_owned(),
            public_key: Base64(public_key),
            customer_master_key_spec: key.key().spec,
            key_spec: key.key().spec,
            key_usage: key.key().usage,
            algorithms: Algorithms::of(key.key(), cx),
        })
    }
}
