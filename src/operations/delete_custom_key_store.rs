//! DeleteCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteCustomKeyStore.html>.

use super::{Operation, response::EmptyResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyStoreText, request},
};

request! {
    /// Deletes a custom key store that has no keys. Its HSM stays as it is.
    DeleteCustomKeyStore {
        id: KeyStoreText = required "CustomKeyStoreId",
    }
}

impl Operation for DeleteCustomKeyStore {
    const NAME: &'static str = "DeleteCustomKeyStore";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CustomKeyStoreHasCMKsException,
        Code::CustomKeyStoreInvalidStateException,
        Code::CustomKeyStoreNotFoundException,
    ];
    type Response = EmptyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EmptyResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize(Action::DeleteCustomKeyStore, &RequestFacts::default());
        may(cx)?;
        cx.delete_key_store(may, &self.id.0).await?;
        Ok(EmptyResponse {})
    }
}
