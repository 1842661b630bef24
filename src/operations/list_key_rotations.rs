//! ListKeyRotations: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyRotations.html>.

use serde::Serialize;

use super::{Operation, response::EpochSeconds, wrong_origin};
use crate::{
    access::Authorized,
    action::Action,
    error::{Code, KmsError},
    key::{
        Key, Origin,
        generation::{Generation, MaterialState},
        material::MaterialId,
        rotation::RotationType,
    },
    kms::cx::Cx,
    page::invalid_marker,
    policy::RequestFacts,
    request::{ExpirationModel, IncludeKeyMaterial, Int, KeyText, Limit1000, Marker, page_request, request},
};

request! {
    /// The rotations of a key, or all its materials, oldest first.
    ListKeyRotations {
        key_id: KeyText = required "KeyId",
        include: IncludeKeyMaterial = optional "IncludeKeyMaterial",
        limit: Limit1000 = optional "Limit",
        marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyRotationsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    rotations: Vec<RotationsListEntry>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RotationsListEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<ExpirationModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import_state: Option<&'static str>,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_description: Option<String>,
    key_material_id: MaterialId,
    key_material_state: MaterialState,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_date: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<RotationType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<EpochSeconds>,
}

impl Operation for ListKeyRotations {
    const NAME: &'static str = "ListKeyRotations";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::InvalidArnException,
        Code::InvalidMarkerException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = ListKeyRotationsResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListKeyRotationsResponse, KmsError> {
        let authorized = cx.authorize_key(Action::ListKeyRotations, &self.key_id.0, &RequestFacts::default())?;
        rotatable(&authorized)?;
        let key = authorized.key();
        let include = self.include.unwrap_or(IncludeKeyMaterial::RotationsOnly);
        let request = page_request(self.limit.unwrap_or(Int(100)), self.marker);
        let list = format!("rotations {} {include}", authorized.arn());
        let after =
            request.after(&list)?.map(|text| MaterialId::parse(&text).ok_or_else(invalid_marker)).transpose()?;
        let is_listed =
            |generation: &&Generation| include == IncludeKeyMaterial::AllKeyMaterial || generation.rotation.is_some();
        let mut listed = key.all_generations().filter(is_listed);
        if let Some(after) = after {
            listed.by_ref().find(|generation| generation.id == after).ok_or_else(invalid_marker)?;
        }
        let page = request.cut(&list, listed, |generation| generation.id.to_string());
        Ok(ListKeyRotationsResponse {
            rotations: page.items.iter().map(|generation| RotationsListEntry::of(generation, key, cx)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

impl RotationsListEntry {
    fn of(generation: &Generation, key: &Key, cx: &Cx<'_>) -> Self {
        let is_there = key.has(generation.id);
        let imported = (key.origin() == Origin::External).then_some(generation);
        Self {
            key_id: key.id().to_string(),
            key_material_id: generation.id,
            key_material_description: imported.and_then(|imported| imported.description.clone()),
            import_state: imported.map(|_| if is_there { "IMPORTED" } else { "PENDING_IMPORT" }),
            key_material_state: cx.material_state(key, generation.id),
            expiration_model: imported.filter(|_| is_there).map(|imported| match imported.valid_to {
                Some(_) => ExpirationModel::KeyMaterialExpires,
                None => ExpirationModel::KeyMaterialDoesNotExpire,
            }),
            valid_to: imported.filter(|_| is_there).and_then(|imported| imported.valid_to).map(EpochSeconds),
            rotation_date: generation.rotation.map(|rotation| EpochSeconds(rotation.date)),
            rotation_type: generation.rotation.map(|rotation| rotation.kind),
        }
    }
}

/// Checks that the key's material can be rotated.
///
/// # Errors
/// `UnsupportedOperationException`.
pub fn rotatable(key: &Authorized) -> Result<(), KmsError> {
    match key.key().is_rotatable() {
        true => Ok(()),
        false if key.key().custom_key_store().is_some() => Err(wrong_origin(key.arn(), key.key().origin())),
        false => Err(KmsError::bare(Code::UnsupportedOperationException)),
    }
}
