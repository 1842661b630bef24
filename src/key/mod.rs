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
    /// What was ever imported into it for good, oldest first, whether it is there now or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<Imported>,
}

/// Material that came from elsewhere. It may be deleted and come again; no other may come in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its name, which is the same whenever it comes.
    pub id: MaterialId,
    /// When it goes by itself; never, if there is no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
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

    /// CurrentKeyMaterialId: symmetric encryption keys only. That of imported material stays when the material goes.
    pub fn current_material_id(&self) -> Option<MaterialId> {
        let current = self.current_material().map(|material| material.id);
        let current = current.or_else(|| self.imported.last().map(|imported| imported.id));
        current.filter(|_| self.spec == KeySpec::SymmetricDefault)
    }

    /// Whether a material is missing that was imported once, or has never come.
    pub fn lacks_material(&self) -> bool {
        let is_missing = |imported: &Imported| self.material(imported.id).is_none();
        self.origin == Origin::External && (self.imported.is_empty() || self.imported.iter().any(is_missing))
    }

    /// When the first of its imported materials that are there goes by itself.
    pub fn valid_to(&self) -> Option<Timestamp> {
        let there = self.imported.iter().filter(|imported| self.material(imported.id).is_some());
        there.filter_map(|imported| imported.valid_to).min()
    }

    /// Takes a material out; answers it, and the state follows. An operator's deletion, or its time has come.
    pub fn take_material(&mut self, id: MaterialId) -> Option<Arc<Material>> {
        let at = self.materials.iter().position(|material| material.id == id)?;
        let taken = self.materials.remove(at);
        if matches!(self.state, KeyState::Enabled | KeyState::Disabled) {
            self.state = KeyState::PendingImport;
        }
        Some(taken)
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
