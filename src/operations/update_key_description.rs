//! UpdateKeyDescription: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Description, KeyText, request},
};

request! {
    /// Changes the description of a key.
    UpdateKeyDescription {
        key_id: KeyText = required "KeyId",
        description: Description = required "Description",
    }
}

impl Operation for UpdateKeyDescription {
    const NAME: &'static str = "UpdateKeyDescription";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let may =
            |cx: &Cx<'_>| cx.authorize_key(Action::UpdateKeyDescription, &self.key_id.0, &RequestFacts::default());
        cx.change(may, Demand::Change, |key| {
            key.describe(&self.description.0);
            Ok(())
        })
        .await?;
        Ok(NoResponse)
    }
}
