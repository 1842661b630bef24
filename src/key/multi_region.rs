//! Multi-Region keys: one key id, one material, a key in each of several regions (AWS KMS: "Multi-Region keys").

use serde::{Deserialize, Serialize};

use super::{Key, Origin, rotation::Generation, state::KeyState};

/// The regions in which a multi-Region key has relatives, itself among them. The same in all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiRegion {
    /// Where the primary key is.
    pub primary: String,
    /// Where its replicas are, in the order of their making.
    #[serde(default)]
    pub replicas: Vec<String>,
}

impl MultiRegion {
    /// That of a primary key without replicas.
    pub fn of_primary(region: &str) -> Self {
        Self { primary: region.to_owned(), replicas: Vec::new() }
    }

    /// Every region in which there is one of them.
    pub fn regions(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// A region without its key: the replica is gone.
    pub fn leave(&mut self, region: &str) {
        self.replicas.retain(|replica| replica != region);
    }

    /// Makes the replica in `region` the primary key, and the primary key a replica; false if there is none in `region`.
    pub fn promote(&mut self, region: &str) -> bool {
        let Some(place) = self.replicas.iter_mut().find(|replica| *replica == region) else { return false };
        std::mem::swap(place, &mut self.primary);
        true
    }
}

impl Key {
    /// A replica: `own` with all that relatives have in common. Imported material comes to each region by itself.
    #[must_use]
    pub fn replica(&self, own: Self) -> Self {
        let is_imported = self.origin == Origin::External;
        let without_date =
            |generation: &Generation| Generation { valid_to: None, valid_after: None, ..generation.clone() };
        Self {
            origin: self.origin,
            state: if is_imported { KeyState::PendingImport } else { KeyState::Enabled },
            multi_region: self.multi_region.clone(),
            materials: if is_imported { Vec::new() } else { self.materials.clone() },
            generations: self.generations.iter().map(without_date).collect(),
            pending: self.pending.as_ref().map(without_date),
            schedule: self.schedule,
            ..own
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_promoted_in_its_place() {
        let mut family = MultiRegion { primary: "a".into(), replicas: vec!["b".into(), "c".into()] };
        assert!(!family.promote("d") && !family.promote("a"));
        assert!(family.promote("c"));
        assert_eq!(family, MultiRegion { primary: "c".into(), replicas: vec!["b".into(), "a".into()] });
        family.leave("b");
        assert_eq!(Vec::from_iter(family.regions()), ["c", "a"]);
    }
}
