//! ConnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ConnectCustomKeyStore.html>.

use super::{Operation, response::EmptyResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyStoreText, request},
};

request! {
    /// Has the HSM of a custom key store opened. Answers before it is.
    ConnectCustomKeyStore {
        id: KeyStoreText = required "CustomKeyStoreId",
    }
}

impl Operation for ConnectCustomKeyStore {
    const NAME: &'static str = "ConnectCustomKeyStore";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CloudHsmClusterInvalidConfigurationException,
        Code::CloudHsmClusterNotActiveException,
        Code::CustomKeyStoreInvalidStateException,
        Code::CustomKeyStoreNotFoundException,
    ];
    type Response = EmptyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EmptyResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize(Action::ConnectCustomKeyStore, &RequestFacts::default());
        may(cx)?;
        cx.connect_key_store(may, &self.id.0).await?;
        Ok(EmptyResponse {})
    }
}
