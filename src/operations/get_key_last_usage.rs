//! GetKeyLastUsage: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html>.

use serde::Serialize;
use uuid::Uuid;

use super::{Operation, response::EpochSeconds};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::usage::{Use, UsingOperation},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// When a key was last used, for what, and by which call.
    GetKeyLastUsage {
        key_id: KeyText = required "KeyId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyLastUsageResponse {
    key_creation_date: EpochSeconds,
    key_id: String,
    key_last_usage: LastUsage,
    tracking_start_date: EpochSeconds,
}

/// Empty for a key that was not used.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_trail_event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<UsingOperation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<EpochSeconds>,
}

impl Operation for GetKeyLastUsage {
    const NAME: &'static str = "GetKeyLastUsage";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] =
        &[Code::DependencyTimeoutException, Code::InvalidArnException, Code::NotFoundException];
    type Response = GetKeyLastUsageResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GetKeyLastUsageResponse, KmsError> {
        let key = cx.authorize_key(Action::GetKeyLastUsage, &self.key_id.0, &RequestFacts::default())?;
        let last = cx.last_use(key.key()).await?;
        Ok(GetKeyLastUsageResponse {
            key_id: key.arn().to_owned(),
            key_last_usage: last.map(LastUsage::of).unwrap_or_default(),
            tracking_start_date: EpochSeconds(cx.tracked_since(key.key()).await?),
            key_creation_date: EpochSeconds(key.key().created()),
        })
    }
}

impl LastUsage {
    fn of(last: Use) -> Self {
        Self {
            operation: Some(last.operation),
            timestamp: Some(EpochSeconds(last.time)),
            cloud_trail_event_id: Some(last.event_id),
            kms_request_id: Some(last.request_id),
        }
    }
}
