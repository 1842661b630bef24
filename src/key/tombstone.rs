//! A tombstone is remembered of a key that was deleted: enough to say that it was, when, and by whose wish. No key bytes, no policy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Key, Origin,
    custom_store::KeyStoreId,
    material::{Keeping, Material, MaterialId},
    reference::KeyId,
    spec::{KeySpec, KeyUsage},
};
use crate::{arn::Realm, clock::Timestamp};

/// A key that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The key id.
    pub id: KeyId,
    /// The region whose key space it belonged to.
    pub region: String,
    /// The key ARN.
    pub arn: String,
    /// The kind of material that it had.
    pub spec: KeySpec,
    /// Its key usage.
    pub usage: KeyUsage,
    /// Where its material came from.
    pub origin: Origin,
    /// When it was made.
    pub created: Timestamp,
    /// The ARN of the principal that had it deleted, if that is known.
    pub scheduled_by: Option<String>,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// The names of its materials, which ciphertexts name too.
    pub materials: Vec<MaterialId>,
    /// The custom key store whose HSM had its materials; none for the service's own HSMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_key_store: Option<KeyStoreId>,
    /// The materials of which HSMs may still have something: objects, and handles of what was wrapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<Arc<Material>>,
    /// When nothing was left of it on any HSM, and the audit trail said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Timestamp>,
}

impl Tombstone {
    /// The tombstone of `key`, which is deleted in its realm now. What its relatives in other regions have of it is theirs from now on.
    pub fn of(key: &Key, relatives: &[&Key], realm: &Realm, now: Timestamp) -> Self {
        let is_theirs = |material: &Material| relatives.iter().any(|key| key.material(material.id).is_some());
        let remains = key.materials.iter().filter(|material| !is_theirs(material));
        Self {
            id: key.id,
            region: key.region().to_owned(),
            arn: key.arn(realm),
            spec: key.spec,
            usage: key.usage,
            origin: key.origin,
            created: key.created,
            scheduled_by: key.deletion_scheduled_by().map(str::to_owned),
            deleted: now,
            materials: key.materials.iter().map(|material| material.id).collect(),
            custom_key_store: key.custom_key_store.clone(),
            remains: remains.map(|material| Arc::new(without_blob(material))).collect(),
            destroyed: None,
        }
    }
}

/// The wrapped key is gone with its key; what an HSM has a handle of is known by the material's name.
fn without_blob(material: &Material) -> Material {
    let mut material = material.clone();
    if let Keeping::Wrapped { blob, .. } = &mut material.keeping {
        blob.clear();
    }
    material
}
