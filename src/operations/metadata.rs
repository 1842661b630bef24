//! KeyMetadata: what CreateKey and DescribeKey say of a key.

use serde::Serialize;

use super::{answer::EpochSeconds, member::ExpirationModel};
use crate::{
    arn::Realm,
    key::{
        Key, Origin,
        algorithm::{Algorithm, EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm},
        material::MaterialId,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        state::KeyState,
    },
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    account: String,
    key_id: String,
    arn: String,
    creation_date: EpochSeconds,
    enabled: bool,
    description: String,
    key_usage: KeyUsage,
    key_state: KeyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<EpochSeconds>,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<ExpirationModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<EpochSeconds>,
    key_manager: &'static str,
    customer_master_key_spec: KeySpec,
    key_spec: KeySpec,
    #[serde(flatten)]
    algorithms: Algorithms,
    multi_region: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_region_configuration: Option<MultiRegionConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<MaterialId>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionConfiguration {
    multi_region_key_type: &'static str,
    primary_key: MultiRegionKey,
    replica_keys: [MultiRegionKey; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionKey {
    arn: String,
    region: String,
}

impl KeyMetadata {
    pub fn of(key: &Key, realm: &Realm) -> Self {
        let arn = key.arn(realm);
        Self {
            account: realm.account.to_string(),
            key_id: key.id.to_string(),
            creation_date: EpochSeconds(key.created),
            enabled: key.state == KeyState::Enabled,
            description: key.description.clone(),
            key_usage: key.usage,
            key_state: key.state,
            deletion_date: key.deletion_date.map(EpochSeconds),
            origin: key.origin,
            expiration_model: expiration_model(key),
            valid_to: key.valid_to().map(EpochSeconds),
            key_manager: "CUSTOMER",
            customer_master_key_spec: key.spec,
            key_spec: key.spec,
            algorithms: Algorithms::of(key),
            multi_region: key.multi_region,
            multi_region_configuration: key.multi_region.then(|| MultiRegionConfiguration::primary(&arn, realm)),
            current_key_material_id: key.current_material_id(),
            arn,
        }
    }
}

/// Only for imported material that is there.
fn expiration_model(key: &Key) -> Option<ExpirationModel> {
    let there = key.origin == Origin::External && key.current_material().is_some();
    there.then_some(match key.valid_to() {
        Some(_) => ExpirationModel::KeyMaterialExpires,
        None => ExpirationModel::KeyMaterialDoesNotExpire,
    })
}

impl MultiRegionConfiguration {
    /// A primary key without replicas.
    fn primary(arn: &str, realm: &Realm) -> Self {
        let primary_key = MultiRegionKey { arn: arn.to_owned(), region: realm.region.clone() };
        Self { multi_region_key_type: "PRIMARY", primary_key, replica_keys: [] }
    }
}

/// What a key is used with: one list, that of its usage.
#[derive(Serialize)]
pub enum Algorithms {
    #[serde(rename = "EncryptionAlgorithms")]
    Encryption(&'static [EncryptionAlgorithm]),
    #[serde(rename = "SigningAlgorithms")]
    Signing(&'static [SigningAlgorithm]),
    #[serde(rename = "MacAlgorithms")]
    Mac(&'static [MacAlgorithm]),
    #[serde(rename = "KeyAgreementAlgorithms")]
    KeyAgreement(&'static [KeyAgreementAlgorithm]),
    #[serde(rename = "EncapsulationAlgorithms")]
    Encapsulation(&'static [EncapsulationAlgorithm]),
}

impl Algorithms {
    pub fn of(key: &Key) -> Self {
        match key.usage {
            KeyUsage::EncryptDecrypt => Self::Encryption(Algorithm::of(key.spec)),
            KeyUsage::SignVerify => Self::Signing(Algorithm::of(key.spec)),
            KeyUsage::GenerateVerifyMac => Self::Mac(Algorithm::of(key.spec)),
            KeyUsage::KeyAgreement => Self::KeyAgreement(Algorithm::of(key.spec)),
            KeyUsage::EncapsulateDecapsulate => Self::Encapsulation(Algorithm::of(key.spec)),
        }
    }
}
