//! GetKeyRotationStatus: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html>.

use serde::Serialize;

use super::{Operation, enable_key_rotation::made_here, response::EpochSeconds};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{Key, rotation::Schedule, state::KeyState},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Automatic rotation of a key: whether it is on, its period and its next date.
    GetKeyRotationStatus {
        key_id: KeyText = required "KeyId",
    }
}

/// OnDemandRotationStartDate is never there: such a rotation is over when it is answered.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyRotationStatusResponse {
    key_id: String,
    key_rotation_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period_in_days: Option<u32>,
}

impl Operation for GetKeyRotationStatus {
    const NAME: &'static str = "GetKeyRotationStatus";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = GetKeyRotationStatusResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GetKeyRotationStatusResponse, KmsError> {
        let key = cx.authorize_key(Action::GetKeyRotationStatus, &self.key_id.0, &RequestFacts::default())?;
        made_here(&key)?;
        let schedule = shown(key.key());
        Ok(GetKeyRotationStatusResponse {
            key_rotation_enabled: schedule.is_some(),
            key_id: key.arn().to_owned(),
            rotation_period_in_days: schedule.map(|schedule| schedule.period_days),
            next_rotation_date: schedule.map(|schedule| EpochSeconds(schedule.next())),
        })
    }
}

/// While a key waits for its deletion it is not rotated; what was decided comes back if the deletion is taken back.
fn shown(key: &Key) -> Option<Schedule> {
    key.schedule().filter(|_| !matches!(key.state(), KeyState::PendingDeletion | KeyState::PendingReplicaDeletion))
}
