//! GetParametersForImport: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html>.

use serde::Serialize;

use super::{
    Operation,
    response::{Base64, EpochSeconds},
    wrong_origin,
};
use crate::{
    access::Authorized,
    action::Action,
    error::{Code, KmsError},
    key::{
        Origin,
        algorithm::{WrappingAlgorithm, WrappingKeySpec},
        state::Demand,
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Makes a public key to encrypt key material under, and the token to import it with.
    GetParametersForImport {
        key_id: KeyText = required "KeyId",
        algorithm: WrappingAlgorithm = required "WrappingAlgorithm",
        wrapping_spec: WrappingKeySpec = required "WrappingKeySpec",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetParametersForImportResponse {
    import_token: Base64<Vec<u8>>,
    key_id: String,
    parameters_valid_to: EpochSeconds,
    public_key: Base64<Vec<u8>>,
}

impl Operation for GetParametersForImport {
    const NAME: &'static str = "GetParametersForImport";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = GetParametersForImportResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GetParametersForImportResponse, KmsError> {
        let facts = RequestFacts {
            wrapping_algorithm: Some(self.algorithm),
            wrapping_key_spec: Some(self.wrapping_spec),
            ..RequestFacts::default()
        };
        let key = cx.authorize_key(Action::GetParametersForImport, &self.key_id.0, &facts)?;
        imports(&key)?;
        key.demand(Demand::PrepareImport)?;
        let spec = key.key().spec();
        if !self.algorithm.carries(spec, self.wrapping_spec) {
            return Err(KmsError::invalid(format!(
                "Wrapping algorithm {} with wrapping key spec {} is not valid for key material of key spec {spec}.",
                self.algorithm, self.wrapping_spec
            )));
        }
        let parameters = cx.import_parameters(&key, self.algorithm, self.wrapping_spec.key_spec()).await?;
        Ok(GetParametersForImportResponse {
            key_id: key.arn().to_owned(),
            import_token: Base64(parameters.token),
            public_key: Base64(parameters.public_key),
            parameters_valid_to: EpochSeconds(parameters.valid_to),
        })
    }
}

/// Checks that the key's material is imported.
///
/// # Errors
/// `UnsupportedOperationException`.
pub fn imports(key: &Authorized) -> Result<(), KmsError> {
    match key.key().origin() {
        Origin::External => Ok(()),
        origin => Err(wrong_origin(key.arn(), origin)),
    }
}
