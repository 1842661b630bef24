//! The generations of a key's material: which is current, which was, and which waits for a rotation (AWS KMS: "Rotate AWS KMS
//! keys").

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Key,
    material::{Keeping, Material, MaterialId},
    rotation::Rotation,
    spec::KeySpec,
};
use crate::{
    aws_names::aws_enum,
    clock::{Running, Timestamp},
};

aws_enum! {
    /// KeyMaterialState.
    MaterialState {
        NonCurrent = "NON_CURRENT",
        Current = "CURRENT",
        PendingRotation = "PENDING_ROTATION",
        PendingMultiRegionImportAndRotation = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
    }
}

/// The facts that a key keeps of one of its materials, in the HSM or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name. That of imported material is the same whenever it comes.
    pub id: MaterialId,
    /// How it became current; the first one was so from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// When imported material expires; never, if there is no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// How long the deployment must have run by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after: Option<Running>,
    /// KeyMaterialDescription, of imported material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Generation {
    /// A material that nothing more is known of.
    pub fn of(id: MaterialId) -> Self {
        Self { id, rotation: None, valid_to: None, valid_after: None, description: None }
    }

    /// True if its material may not be used any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.valid_to.is_some_and(|valid_to| valid_to <= now)
    }
}

impl Key {
    /// The materials that are there, in no order that means anything.
    pub fn materials(&self) -> &[Arc<Material>] {
        &self.materials
    }

    /// All materials that it ever had for good, oldest first; the last one is current.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// Imported material that a rotation on demand will make current.
    pub fn pending(&self) -> Option<&Generation> {
        self.pending.as_deref()
    }

    /// Every material that it has or had, the one that waits for rotation last.
    pub fn all_generations(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().chain(self.pending())
    }

    /// Its generations whose material is there, that which waits for rotation among them.
    pub(super) fn there(&self) -> impl Iterator<Item = &Generation> {
        self.all_generations().filter(|generation| self.has(generation.id))
    }

    /// The material that new ciphertexts are made under; none while import is pending.
    pub fn current_material(&self) -> Option<&Arc<Material>> {
        match self.generations.last() {
            Some(current) => self.material(current.id),
            // A key of a version that did not rotate.
            None => self.materials.last(),
        }
    }

    /// The material that a ciphertext blob names.
    pub fn material(&self, id: MaterialId) -> Option<&Arc<Material>> {
        self.materials.iter().find(|material| material.id == id)
    }

    /// True if this material is there.
    pub fn has(&self, id: MaterialId) -> bool {
        self.material(id).is_some()
    }

    /// True if one of its materials is the object on an HSM with this CKA_ID.
    pub fn names_object(&self, cka_id: &[u8]) -> bool {
        let is_it =
            |material: &Material| matches!(&material.keeping, Keeping::Token { cka_id: id, .. } if id == cka_id);
        self.materials.iter().any(|material| is_it(material))
    }

    /// CurrentKeyMaterialId. That of imported material stays when the material goes.
    pub fn current_material_id(&self) -> Option<MaterialId> {
        let current = self.generations.last().map(|generation| generation.id);
        let current = current.or_else(|| self.current_material().map(|material| material.id));
        current.filter(|_| self.names_materials())
    }

    /// True if answers name its materials: symmetric encryption keys only, and not those in custom key stores.
    pub fn names_materials(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault && self.custom_key_store.is_none()
    }

    /// KeyMaterialState of a material, its like in other regions left aside.
    pub fn material_state(&self, id: MaterialId) -> MaterialState {
        let is = |generation: Option<&Generation>| generation.is_some_and(|one| one.id == id);
        match (is(self.pending()), is(self.generations.last())) {
            (true, _) => MaterialState::PendingRotation,
            (_, true) => MaterialState::Current,
            _ => MaterialState::NonCurrent,
        }
    }
}
