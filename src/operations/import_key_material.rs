//! ImportKeyMaterial: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html>.

use serde::Serialize;

use super::{Operation, get_parameters_for_import::imports};
use crate::{
    access::Authorized,
    action::Action,
    clock::Timestamp,
    error::{Code, KmsError},
    key::{importing::ImportOptions, material::MaterialId, spec::KeySpec, state::Demand},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Ciphertext, ExpirationModel, ImportType, KeyText, MaterialDescription, MaterialText, Time, request},
};

/// The longest that imported material may be valid, in days.
const MOST_DAYS: i64 = 365;

request! {
    /// Takes key material in that was encrypted with what GetParametersForImport gave.
    ImportKeyMaterial {
        key_id: KeyText = required "KeyId",
        token: Ciphertext = required "ImportToken",
        material: Ciphertext = required "EncryptedKeyMaterial",
        valid_to: Time = optional "ValidTo",
        expiration: ExpirationModel = optional "ExpirationModel",
        import_type: ImportType = optional "ImportType",
        description: MaterialDescription = optional "KeyMaterialDescription",
        material_id: MaterialText = optional "KeyMaterialId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImportKeyMaterialResponse {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<MaterialId>,
}

impl Operation for ImportKeyMaterial {
    const NAME: &'static str = "ImportKeyMaterial";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::ExpiredImportTokenException,
        Code::IncorrectKeyMaterialException,
        Code::InvalidArnException,
        Code::InvalidCiphertextException,
        Code::InvalidImportTokenException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = ImportKeyMaterialResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ImportKeyMaterialResponse, KmsError> {
        let valid_to = self.expiry(cx.now())?;
        let facts = RequestFacts {
            expiration_model: self.expiration.map(ExpirationModel::as_str),
            valid_to,
            ..RequestFacts::default()
        };
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::ImportKeyMaterial, &self.key_id.0, &facts)?;
            imports(&key)?;
            key.demand(Demand::Import)?;
            self.fits(&key)?;
            Ok(key)
        };
        let key = may(cx)?;
        let token = cx.open_import_token(&key, self.token.0.expose()).await?;
        let material = self.material.0.expose().to_vec();
        let options = ImportOptions {
            is_new: self.import_type.map(|wanted| wanted == ImportType::NewKeyMaterial),
            expiry: match valid_to {
                Some(date) => Some(cx.moment_at(date).await?),
                None => None,
            },
            description: self.description.as_ref().map(|MaterialDescription(text)| text.clone()),
            material_id: self.material_id.as_ref().and_then(|MaterialText(text)| MaterialId::parse(text)),
        };
        let id = cx.import_material(may, token, material, &options).await?;
        let shown = key.key().spec() == KeySpec::SymmetricDefault;
        Ok(ImportKeyMaterialResponse { key_id: key.arn().to_owned(), key_material_id: shown.then_some(id) })
    }
}

impl ImportKeyMaterial {
    /// When the material goes by itself.
    fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, KmsError> {
        let expires = self.expiration.unwrap_or(ExpirationModel::KeyMaterialExpires);
        let day_ms = 24 * 60 * 60 * 1000;
        match (expires, &self.valid_to) {
            (ExpirationModel::KeyMaterialExpires, None) => {
                Err(KmsError::invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"))
            }
            (ExpirationModel::KeyMaterialDoesNotExpire, Some(_)) => Err(KmsError::invalid(
                "A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE",
            )),
            (ExpirationModel::KeyMaterialDoesNotExpire, None) => Ok(None),
            (_, Some(Time(time))) if *time <= now => Err(KmsError::invalid("The validTo date must be in the future")),
            (_, Some(Time(time))) if time.since_ms(now) > MOST_DAYS * day_ms => {
                Err(KmsError::invalid("The validTo date must be at most 365 days in the future"))
            }
            (_, Some(Time(time))) => Ok(Some(*time)),
        }
    }

    /// Checks that this key can have such an import.
    fn fits(&self, key: &Authorized) -> Result<(), KmsError> {
        let is_symmetric = key.key().spec() == KeySpec::SymmetricDefault;
        let says_more = self.import_type.is_some() || self.description.is_some() || self.material_id.is_some();
        if !is_symmetric && says_more {
            return Err(KmsError::invalid(
                "ImportType, KeyMaterialDescription and KeyMaterialId are for symmetric encryption keys only.",
            ));
        }
        match (self.import_type, &self.material_id) {
            (Some(ImportType::NewKeyMaterial), Some(_)) => {
                Err(KmsError::invalid("KeyMaterialId is not valid with ImportType NEW_KEY_MATERIAL."))
            }
            _ => Ok(()),
        }
    }
}
