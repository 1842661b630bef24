//! DeleteImportedKeyMaterial: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteImportedKeyMaterial.html>.

use serde::Serialize;

use super::{Operation, get_parameters_for_import::imports};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{material::MaterialId, spec::KeySpec, state::Demand},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, MaterialText, request},
};

request! {
    /// Destroys imported key material at once. The same material can be imported again.
    DeleteImportedKeyMaterial {
        key_id: KeyText = required "KeyId",
        material_id: MaterialText = optional "KeyMaterialId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteImportedKeyMaterialResponse {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
}

impl Operation for DeleteImportedKeyMaterial {
    const NAME: &'static str = "DeleteImportedKeyMaterial";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = DeleteImportedKeyMaterialResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DeleteImportedKeyMaterialResponse, KmsError> {
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::DeleteImportedKeyMaterial, &self.key_id.0, &RequestFacts::default())?;
            imports(&key)?;
            key.demand(Demand::DeleteMaterial)?;
            Ok(key)
        };
        let key = may(cx)?;
        let wanted = self.material_id.as_ref().and_then(|MaterialText(text)| MaterialId::parse(text));
        let deleted = cx.delete_material(may, wanted).await?;
        let key_material_id = deleted.filter(|_| key.key().spec() == KeySpec::SymmetricDefault);
        Ok(DeleteImportedKeyMaterialResponse { key_id: key.arn().to_owned(), key_material_id })
    }
}
