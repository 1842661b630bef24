//! PutKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>.

use super::{Operation, policy_text, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, PolicyName, PolicyText, request},
};

request! {
    /// Replaces the policy of a key.
    PutKeyPolicy {
        key_id: KeyText = required "KeyId",
        policy_name: PolicyName = default "PolicyName",
        policy: PolicyText = required "Policy",
        bypass_lockout_check: bool = optional "BypassPolicyLockoutSafetyCheck",
    }
}

impl Operation for PutKeyPolicy {
    const NAME: &'static str = "PutKeyPolicy";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::MalformedPolicyDocumentException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        check_name(&self.policy_name.0)?;
        let facts =
            RequestFacts { bypass_policy_lockout_safety_check: self.bypass_lockout_check, ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::PutKeyPolicy, &self.key_id.0, &facts)?;
            policy_text::check(cx, &self.policy.0, key.arn(), &facts)?;
            Ok(key)
        };
        cx.change(may, Demand::Nothing, |key| {
            key.put_policy(&self.policy.0);
            Ok(())
        })
        .await?;
        Ok(NoResponse)
    }
}

/// A key has one policy that can be changed.
fn check_name(name: &str) -> Result<(), KmsError> {
    match name {
        "default" => Ok(()),
        "AWS_RAM" => Err(KmsError::invalid("The AWS_RAM policy can only be managed by the RAM service")),
        _ => Err(KmsError::bare(Code::UnsupportedOperationException)),
    }
}
