//! CancelKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{Key, state::Demand},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Takes back ScheduleKeyDeletion; the key is disabled then, whatever it was before.
    CancelKeyDeletion {
        key_id: KeyText = required "KeyId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CancelKeyDeletionResponse {
    key_id: String,
}

impl Operation for CancelKeyDeletion {
    const NAME: &'static str = "CancelKeyDeletion";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = CancelKeyDeletionResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<CancelKeyDeletionResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::CancelKeyDeletion, &self.key_id.0, &RequestFacts::default());
        let cancel = |key: &mut Key| {
            key.cancel_deletion(cx.now());
            Ok(())
        };
        let changed = cx.change(may, Demand::CancelDeletion, cancel).await?;
        Ok(CancelKeyDeletionResponse { key_id: changed.arn(cx.realm()) })
    }
}
