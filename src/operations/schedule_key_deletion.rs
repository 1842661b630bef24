//! ScheduleKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html>.

use serde::Serialize;

use super::{Operation, response::EpochSeconds};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::{Demand, KeyState},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Int, KeyText, request},
};

request! {
    /// Has a key deleted after a time in which that can be taken back.
    ScheduleKeyDeletion {
        key_id: KeyText = required "KeyId",
        window_days: Int<1, 365, 7, 30> = optional "PendingWindowInDays",
    }
}

/// PendingWindowInDays when it is not given.
const DEFAULT_WINDOW_DAYS: i64 = 30;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleKeyDeletionResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<EpochSeconds>,
    key_id: String,
    key_state: KeyState,
    pending_window_in_days: u16,
}

impl Operation for ScheduleKeyDeletion {
    const NAME: &'static str = "ScheduleKeyDeletion";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = ScheduleKeyDeletionResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ScheduleKeyDeletionResponse, KmsError> {
        let Int(window_days) = self.window_days.unwrap_or(Int(DEFAULT_WINDOW_DAYS));
        let window_days = u16::try_from(window_days).map_err(KmsError::internal)?;
        let facts = RequestFacts { pending_window_days: Some(window_days), ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::ScheduleKeyDeletion, &self.key_id.0, &facts);
        let moment = cx.moment().await?;
        let by = cx.caller().principal.arn();
        let changed = cx
            .change(may, Demand::ScheduleDeletion, |key| {
                key.schedule_deletion(window_days, moment, by);
                Ok(())
            })
            .await?;
        Ok(ScheduleKeyDeletionResponse {
            key_id: changed.arn(cx.realm()),
            deletion_date: changed.deletion_date().map(EpochSeconds),
            key_state: changed.state(),
            pending_window_in_days: window_days,
        })
    }
}
