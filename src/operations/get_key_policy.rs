//! GetKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::{self, RequestFacts},
    request::{KeyText, PolicyName, request},
};

request! {
    /// The text of a key's policy.
    GetKeyPolicy {
        key_id: KeyText = required "KeyId",
        policy_name: PolicyName = default "PolicyName",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyPolicyResponse {
    policy: String,
    policy_name: String,
}

impl Operation for GetKeyPolicy {
    const NAME: &'static str = "GetKeyPolicy";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = GetKeyPolicyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GetKeyPolicyResponse, KmsError> {
        let key = cx.authorize_key(Action::GetKeyPolicy, &self.key_id.0, &RequestFacts::default())?;
        if self.policy_name.0 != "default" {
            return Err(KmsError::new(Code::NotFoundException, "No such policy exists"));
        }
        let text = key.key().policy();
        Ok(GetKeyPolicyResponse {
            policy: policy::pretty(text).unwrap_or_else(|| text.to_owned()),
            policy_name: self.policy_name.0,
        })
    }
}
