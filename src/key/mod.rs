//! What a KMS key is: its own facts, its state, its materials. Everything here is public; key bytes never are.

pub mod algorithm;
pub mod context;
pub mod material;
pub mod reference;
pub mod spec;
pub mod state;
pub mod tags;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{arn::Realm, clock::Timestamp, word::words};
use material::{Material, MaterialId};
use reference::KeyId;
use spec::{KeySpec, KeyUsage};
use state::KeyState;
use tags::Tags;

words! {
    /// Where the key material comes from.
    Origin {
        AwsKms = "AWS_KMS",
        External = "EXTERNAL",
        AwsCloudHsm = "AWS_CLOUDHSM",
        ExternalKeyStore = "EXTERNAL_KEY_STORE",
    }
}

/// A KMS key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The key id: unique over all regions, but for multi-Region keys.
    pub id: KeyId,
    /// The region whose key space it belongs to.
    pub region: String,
    /// What kind of material it has.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Where its material comes from.
    pub origin: Origin,
    /// Its state, without the date that goes with PendingDeletion.
    pub state: KeyState,
    /// Free text of its owner, at most 8,192 characters.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it is due, while it is pending deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_date: Option<Timestamp>,
    /// Whether it was made as a multi-Region primary key.
    #[serde(default)]
    pub multi_region: bool,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// Its key policy, as text.
    pub policy: String,
    /// Its materials, oldest first; the last one is current.
    pub materials: Vec<Arc<Material>>,
}

impl Key {
    /// The key ARN in the realm it is served in.
    pub fn arn(&self, realm: &Realm) -> String {
        realm.arn(format_args!("key/{}", self.id))
    }

    /// The material that new ciphertexts are made under; none while import is pending.
    pub fn current_material(&self) -> Option<&Arc<Material>> {
        self.materials.last()
    }

    /// The material that a ciphertext blob names.
    pub fn material(&self, id: MaterialId) -> Option<&Arc<Material>> {
        self.materials.iter().find(|material| material.id == id)
    }

    /// CurrentKeyMaterialId: symmetric encryption keys only.
    pub fn current_material_id(&self) -> Option<MaterialId> {
        (self.spec == KeySpec::SymmetricDefault).then(|| self.current_material().map(|m| m.id)).flatten()
    }
}

/// A name for a key: unique in its realm, movable to another key of the same class and usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The whole name, with its `alias/` prefix.
    pub name: String,
    /// The region it belongs to.
    pub region: String,
    /// The key it names now.
    pub target: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last pointed at a key.
    pub updated: Timestamp,
}
