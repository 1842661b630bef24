//! DisableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKeyRotation.html>.

use super::{Operation, enable_key_rotation::rotates_by_itself, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Ends the automatic rotation of a key.
    DisableKeyRotation {
        key_id: KeyText = required "KeyId",
    }
}

impl Operation for DisableKeyRotation {
    const NAME: &'static str = "DisableKeyRotation";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::DisableKeyRotation, &self.key_id.0, &RequestFacts::default())?;
            rotates_by_itself(&key)?;
            Ok(key)
        };
        cx.change_family(may, Demand::ScheduleRotation, |own, relatives| {
            own.disable_rotation(relatives);
            Ok(())
        })
        .await?;
        Ok(NoResponse)
    }
}
