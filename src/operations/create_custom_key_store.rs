//! CreateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    attestation,
    error::{Code, KmsError},
    key::custom_store::{KeyStoreId, KeyStoreType},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{
        AccountText, ClusterId, Member, Password, Text, XksConnectivity, XksCredential, XksUriEndpoint, XksUriPath,
        XksVpcService, missing, request,
    },
};

request! {
    /// Makes a custom key store: an HSM of the caller's, for keys to be made in.
    CreateCustomKeyStore {
        name: KeyStoreName = required "CustomKeyStoreName",
        cluster: ClusterId = optional "CloudHsmClusterId",
        trust_anchor: TrustAnchor = optional "TrustAnchorCertificate",
        password: Password = optional "KeyStorePassword",
        kind: KeyStoreType = optional "CustomKeyStoreType",
        uri_endpoint: XksUriEndpoint = optional "XksProxyUriEndpoint",
        uri_path: XksUriPath = optional "XksProxyUriPath",
        vpc_service: XksVpcService = optional "XksProxyVpcEndpointServiceName",
        vpc_service_owner: AccountText = optional "XksProxyVpcEndpointServiceOwner",
        credential: XksCredential = optional "XksProxyAuthenticationCredential",
        connectivity: XksConnectivity = optional "XksProxyConnectivity",
    }
}

/// CustomKeyStoreNameType.
pub type KeyStoreName = Text<1, 256>;

/// TrustAnchorCertificateType.
type TrustAnchor = Text<1, 5000>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateCustomKeyStoreResponse {
    custom_key_store_id: KeyStoreId,
}

impl Operation for CreateCustomKeyStore {
    const NAME: &'static str = "CreateCustomKeyStore";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CloudHsmClusterInUseException,
        Code::CloudHsmClusterInvalidConfigurationException,
        Code::CloudHsmClusterNotActiveException,
        Code::CloudHsmClusterNotFoundException,
        Code::CustomKeyStoreNameInUseException,
        Code::IncorrectTrustAnchorException,
        Code::LimitExceededException,
    ];
    type Response = CreateCustomKeyStoreResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<CreateCustomKeyStoreResponse, KmsError> {
        if self.kind == Some(KeyStoreType::ExternalKeyStore) {
            cx.authorize(Action::CreateCustomKeyStore, &RequestFacts::default())?;
            return Err(KmsError::invalid("Custom key stores of type EXTERNAL_KEY_STORE are not supported."));
        }
        refuse_external([
            self.uri_endpoint.is_some(),
            self.uri_path.is_some(),
            self.vpc_service.is_some(),
            self.vpc_service_owner.is_some(),
            self.credential.is_some(),
            self.connectivity.is_some(),
        ])?;
        let ClusterId(cluster) = self.cluster.ok_or_else(|| missed::<ClusterId>("cloudHsmClusterId"))?;
        let Text(trust_anchor) = self.trust_anchor.ok_or_else(|| missed::<TrustAnchor>("trustAnchorCertificate"))?;
        let Password(password) = self.password.ok_or_else(|| missed::<Password>("keyStorePassword"))?;
        let may = |cx: &Cx<'_>| cx.authorize(Action::CreateCustomKeyStore, &RequestFacts::default());
        may(cx)?;
        if !attestation::is_certificate(trust_anchor.as_bytes()) {
            let text = "The trust anchor certificate is not one certificate in PEM.";
            return Err(KmsError::new(Code::IncorrectTrustAnchorException, text));
        }
        let id = cx.create_key_store(may, self.name.0, cluster, trust_anchor, password).await?;
        Ok(CreateCustomKeyStoreResponse { custom_key_store_id: id })
    }
}

fn missed<T: Member>(path: &str) -> KmsError {
    KmsError::invalid(missing::<T>(path))
}

/// Refuses the XksProxy members, which are for external key stores only; each is true if it is given.
///
/// # Errors
/// `ValidationException` if one is.
pub fn refuse_external(given: [bool; 6]) -> Result<(), KmsError> {
    match given.contains(&true) {
        false => Ok(()),
        true => Err(KmsError::invalid("XksProxy members are not valid for a custom key store of type AWS_CLOUDHSM.")),
    }
}
