//! ListKeyPolicies: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyPolicies.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, Limit1000, Marker, request},
};

request! {
    /// The names of a key's policies: there is one, `default`, so one page is always enough.
    ListKeyPolicies {
        key_id: KeyText = required "KeyId",
        _limit: Limit1000 = optional "Limit",
        _marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyPoliciesResponse {
    policy_names: [&'static str; 1],
    truncated: bool,
}

impl Operation for ListKeyPolicies {
    const NAME: &'static str = "ListKeyPolicies";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = ListKeyPoliciesResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListKeyPoliciesResponse, KmsError> {
        cx.authorize_key(Action::ListKeyPolicies, &self.key_id.0, &RequestFacts::default())?;
        Ok(ListKeyPoliciesResponse { policy_names: ["default"], truncated: false })
    }
}
