//! DisableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html>.

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
    /// Keeps a key from being used.
    DisableKey {
        key_id: KeyText = required "KeyId",
    }
}

impl Operation for DisableKey {
    const NAME: &'static str = "DisableKey";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::DisableKey, &self.key_id.0, &RequestFacts::default());
        cx.change(may, Demand::Switch, |key| {
            key.disable();
            Ok(())
        })
        .await?;
        Ok(NoResponse)
    }
}
