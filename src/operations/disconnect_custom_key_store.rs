//! DisconnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisconnectCustomKeyStore.html>.

use super::{Operation, response::EmptyResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyStoreText, request},
};

request! {
    /// Has the HSM of a custom key store closed. Its keys are unavailable from now on.
    DisconnectCustomKeyStore {
        id: KeyStoreText = required "CustomKeyStoreId",
    }
}

impl Operation for DisconnectCustomKeyStore {
    const NAME: &'static str = "DisconnectCustomKeyStore";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] =
        &[Code::CustomKeyStoreInvalidStateException, Code::CustomKeyStoreNotFoundException];
    type Response = EmptyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EmptyResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize(Action::DisconnectCustomKeyStore, &RequestFacts::default());
        may(cx)?;
        cx.disconnect_key_store(may, &self.id.0).await?;
        Ok(EmptyResponse {})
    }
}
