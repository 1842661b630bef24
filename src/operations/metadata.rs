//! KeyMetadata: what CreateKey and DescribeKey say of a key.

use serde::Serialize;

use super::response::EpochSeconds;
use crate::{
    arn::Realm,
    key::{
        Key, Origin,
        algorithm::{Algorithm, EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm},
        custom_store::{CustomKeyStore, KeyStoreId},
        material::MaterialId,
        multi_region::MultiRegion,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        state::KeyState,
    },
    kms::cx::Cx,
    request::ExpirationModel,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    account: String,
    arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_hsm_cluster_id: Option<String>,
    creation_date: EpochSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<MaterialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_key_store_id: Option<KeyStoreId>,
    customer_master_key_spec: KeySpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<EpochSeconds>,
    description: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    encapsulation_algorithms: Option<&'static [EncapsulationAlgorithm]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_algorithms: Option<Vec<EncryptionAlgorithm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<ExpirationModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_agreement_algorithms: Option<&'static [KeyAgreementAlgorithm]>,
    key_id: String,
    key_manager: &'static str,
    key_spec: KeySpec,
    key_state: KeyState,
    key_usage: KeyUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_algorithms: Option<&'static [MacAlgorithm]>,
    multi_region: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_region_configuration: Option<MultiRegionConfiguration>,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_deletion_window_in_days: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_algorithms: Option<Vec<SigningAlgorithm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<EpochSeconds>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionConfiguration {
    multi_region_key_type: &'static str,
    primary_key: MultiRegionKey,
    replica_keys: Vec<MultiRegionKey>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionKey {
    arn: String,
    region: String,
}

impl KeyMetadata {
    pub fn of(key: &Key, cx: &Cx<'_>) -> Self {
        Self::in_realm(key, cx, cx.realm())
    }

    fn in_realm(key: &Key, cx: &Cx<'_>, realm: &Realm) -> Self {
        let arn = key.arn(realm);
        let algorithms = Algorithms::of(key, cx);
        Self {
            account: realm.account.to_string(),
            key_id: key.id().to_string(),
            creation_date: EpochSeconds(key.created()),
            enabled: key.state() == KeyState::Enabled,
            description: key.description().to_owned(),
            key_usage: key.usage(),
            key_state: key.state(),
            deletion_date: key.deletion_date().map(EpochSeconds),
            pending_deletion_window_in_days: key.pending_window_days(),
            origin: key.origin(),
            custom_key_store_id: key.custom_key_store().cloned(),
            cloud_hsm_cluster_id: None,
            expiration_model: expiration_model(key),
            valid_to: key.valid_to().map(EpochSeconds),
            key_manager: "CUSTOMER",
            customer_master_key_spec: key.spec(),
            key_spec: key.spec(),
            encapsulation_algorithms: algorithms.encapsulation,
            encryption_algorithms: algorithms.encryption,
            key_agreement_algorithms: algorithms.key_agreement,
            mac_algorithms: algorithms.mac,
            signing_algorithms: algorithms.signing,
            multi_region: key.multi_region().is_some(),
            multi_region_configuration: key
                .multi_region()
                .as_ref()
                .map(|family| MultiRegionConfiguration::of(family, key, realm)),
            current_key_material_id: key.current_material_id(),
            arn,
        }
    }

    /// The same with what is to be said of the key's custom key store, if it is in one.
    pub fn kept_in(mut self, key_store: Option<&CustomKeyStore>) -> Self {
        if let Some(key_store) = key_store {
            self.cloud_hsm_cluster_id = Some(key_store.cluster.clone());
            self.key_state = key_store.state_of_key(self.key_state);
            self.enabled = self.key_state == KeyState::Enabled;
        }
        self
    }
}

impl KeyMetadata {
    /// A replica as AWS answers it that has just been made: it is ready a moment later.
    pub fn of_new_replica(key: &Key, cx: &Cx<'_>, realm: &Realm) -> Self {
        let enabled = false;
        let key_state = KeyState::Creating;
        let current_key_material_id = None;
        Self { enabled, key_state, current_key_material_id, ..Self::in_realm(key, cx, realm) }
    }
}

/// Only for imported material that is there.
fn expiration_model(key: &Key) -> Option<ExpirationModel> {
    let there = key.origin() == Origin::External && key.current_material().is_some();
    there.then_some(match key.valid_to() {
        Some(_) => ExpirationModel::KeyMaterialExpires,
        None => ExpirationModel::KeyMaterialDoesNotExpire,
    })
}

impl MultiRegionConfiguration {
    fn of(family: &MultiRegion, key: &Key, realm: &Realm) -> Self {
        let relative = |region: &String| {
            let there = Realm { region: region.clone(), ..realm.clone() };
            MultiRegionKey { arn: key.arn(&there), region: region.clone() }
        };
        Self {
            multi_region_key_type: if key.is_primary() { "PRIMARY" } else { "REPLICA" },
            primary_key: relative(&family.primary),
            replica_keys: family.replicas.iter().map(relative).collect(),
        }
    }
}

/// The algorithms of a key: one list, that of its usage, without algorithms that the key's HSM cannot do.
#[derive(Default)]
pub struct Algorithms {
    pub encapsulation: Option<&'static [EncapsulationAlgorithm]>,
    pub encryption: Option<Vec<EncryptionAlgorithm>>,
    pub key_agreement: Option<&'static [KeyAgreementAlgorithm]>,
    pub mac: Option<&'static [MacAlgorithm]>,
    pub signing: Option<Vec<SigningAlgorithm>>,
}

impl Algorithms {
    pub fn of(key: &Key, cx: &Cx<'_>) -> Self {
        let mut algorithms = Self::default();
        match key.usage() {
            KeyUsage::EncryptDecrypt => algorithms.encryption = Some(cx.encryption_algorithms(key)),
            KeyUsage::SignVerify => algorithms.signing = Some(cx.signing_algorithms(key)),
            KeyUsage::GenerateVerifyMac => algorithms.mac = Some(Algorithm::of(key.spec())),
            KeyUsage::KeyAgreement => algorithms.key_agreement = Some(Algorithm::of(key.spec())),
            KeyUsage::EncapsulateDecapsulate => algorithms.encapsulation = Some(Algorithm::of(key.spec())),
        }
        algorithms
    }
}
