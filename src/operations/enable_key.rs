//! EnableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Lets a disabled key be used again.
    EnableKey {
        key_id: KeyText = required "KeyId",
    }
}

impl Operation for EnableKey {
    const NAME: &'static str = "EnableKey";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::EnableKey, &self.key_id.0, &RequestFacts::default());
        cx.change(may, Demand::Switch, |key| {
            key.enable();
            Ok(())
        })
        .await?;
        Ok(NoResponse)
    }
}
