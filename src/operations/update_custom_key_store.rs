//! UpdateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateCustomKeyStore.html>.

use super::{
    Operation,
    create_custom_key_store::{KeyStoreName, refuse_external},
    response::EmptyResponse,
};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::{KeyStoreUpdate, cx::Cx},
    policy::RequestFacts,
    request::{
        AccountText, ClusterId, KeyStoreText, Password, Text, XksConnectivity, XksCredential, XksUriEndpoint,
        XksUriPath, XksVpcService, request,
    },
};

request! {
    /// Changes the name of a custom key store or, while it is not connected, its password or cluster.
    UpdateCustomKeyStore {
        id: KeyStoreText = required "CustomKeyStoreId",
        name: KeyStoreName = optional "NewCustomKeyStoreName",
        password: Password = optional "KeyStorePassword",
        cluster: ClusterId = optional "CloudHsmClusterId",
        uri_endpoint: XksUriEndpoint = optional "XksProxyUriEndpoint",
        uri_path: XksUriPath = optional "XksProxyUriPath",
        vpc_service: XksVpcService = optional "XksProxyVpcEndpointServiceName",
        vpc_service_owner: AccountText = optional "XksProxyVpcEndpointServiceOwner",
        credential: XksCredential = optional "XksProxyAuthenticationCredential",
        connectivity: XksConnectivity = optional "XksProxyConnectivity",
    }
}

impl Operation for UpdateCustomKeyStore {
    const NAME: &'static str = "UpdateCustomKeyStore";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CloudHsmClusterInvalidConfigurationException,
        Code::CloudHsmClusterNotActiveException,
        Code::CloudHsmClusterNotFoundException,
        Code::CloudHsmClusterNotRelatedException,
        Code::CustomKeyStoreInvalidStateException,
        Code::CustomKeyStoreNameInUseException,
        Code::CustomKeyStoreNotFoundException,
    ];
    type Response = EmptyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<EmptyResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize(Action::UpdateCustomKeyStore, &RequestFacts::default());
        may(cx)?;
        cx.key_store(&self.id.0)?;
        refuse_external([
            self.uri_endpoint.is_some(),
            self.uri_path.is_some(),
            self.vpc_service.is_some(),
            self.vpc_service_owner.is_some(),
            self.credential.is_some(),
            self.connectivity.is_some(),
        ])?;
        let update = KeyStoreUpdate {
            name: self.name.map(|Text(name)| name),
            password: self.password.map(|Password(password)| password),
            cluster: self.cluster.map(|ClusterId(cluster)| cluster),
        };
        cx.update_key_store(may, &self.id.0, update).await?;
        Ok(EmptyResponse {})
    }
}
