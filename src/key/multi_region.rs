//! Multi-Region keys: one key id, one material, a key in each of several regions (AWS KMS: "Multi-Region keys in AWS KMS").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Key, Origin, generation::Generation, state::KeyState};
use crate::error::{Code, KmsError};

/// The keys of one id, by their regions: one, or a multi-Region key and its relatives.
pub type Family = BTreeMap<String, Key>;

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
    /// The regions of a primary key without replicas.
    pub fn of_primary(region: &str) -> Self {
        Self { primary: region.to_owned(), replicas: Vec::new() }
    }

    /// Every region in which there is one of them.
    pub fn regions(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// A region without its key: the replica is gone.
    pub(super) fn leave(&mut self, region: &str) {
        self.replicas.retain(|replica| replica != region);
    }

    /// Makes the replica in `region` the primary key, and the primary key a replica; false if there is none in `region`.
    fn promote(&mut self, region: &str) -> bool {
        let Some(place) = self.replicas.iter_mut().find(|replica| *replica == region) else { return false };
        std::mem::swap(place, &mut self.primary);
        true
    }
}

impl Key {
    /// Its place among its relatives, if it is a multi-Region key.
    pub fn multi_region(&self) -> Option<&MultiRegion> {
        self.multi_region.as_deref()
    }

    /// True if it is the one that shared properties are changed on: every key but a replica.
    pub fn is_primary(&self) -> bool {
        self.multi_region.as_ref().is_none_or(|family| family.primary == *self.region)
    }

    /// Refuses what is done to primary keys only.
    ///
    /// # Errors
    /// `UnsupportedOperationException` for a replica.
    pub fn demand_primary(&self, arn: &str) -> Result<(), KmsError> {
        if self.is_primary() { Ok(()) } else { Err(not_primary(arn)) }
    }

    /// The regions of a multi-Region primary key and its replicas.
    ///
    /// # Errors
    /// `UnsupportedOperationException` for any other key.
    pub fn regions_of_primary(&self, arn: &str) -> Result<&MultiRegion, KmsError> {
        self.multi_region().filter(|_| self.is_primary()).ok_or_else(|| not_primary(arn))
    }

    /// ReplicateKey: puts a replica beside it and its relatives. `own` is what the replica does not have in common with them.
    ///
    /// # Errors
    /// `UnsupportedOperationException` if it is no multi-Region key, `AlreadyExistsException` if there is one in that region.
    pub fn add_replica(&mut self, relatives: &mut Family, own: Self, arn: &str) -> Result<(), KmsError> {
        let family = self.multi_region.as_mut().ok_or_else(|| not_primary(arn))?;
        if family.regions().any(|taken| **taken == *own.region) {
            let text = format!("There is a key {} in {} already.", own.id, own.region);
            return Err(KmsError::new(Code::AlreadyExistsException, text));
        }
        family.replicas.push(own.region().to_owned());
        relatives.values_mut().for_each(|relative| relative.multi_region.clone_from(&self.multi_region));
        relatives.insert(own.region().to_owned(), self.replica(own));
        Ok(())
    }

    /// `own` with all that relatives have in common. Imported material comes to each region by itself.
    fn replica(&self, own: Self) -> Self {
        let is_imported = self.origin == Origin::External;
        let without_date =
            |generation: &Generation| Generation { valid_to: None, valid_after: None, ..generation.clone() };
        Self {
            origin: self.origin,
            state: if is_imported { KeyState::PendingImport } else { KeyState::Enabled },
            multi_region: self.multi_region.clone(),
            materials: if is_imported { Vec::new() } else { self.materials.clone() },
            generations: self.generations.iter().map(without_date).collect(),
            pending: self.pending().map(without_date).map(Box::new),
            schedule: self.schedule,
            ..own
        }
    }

    /// UpdatePrimaryRegion: makes its replica in `region` the primary key, and the primary key a replica.
    ///
    /// # Errors
    /// `NotFoundException` if there is no replica in `region`.
    pub fn promote(&mut self, relatives: &mut Family, region: &str, arn: &str) -> Result<(), KmsError> {
        if !self.multi_region.as_mut().is_some_and(|family| family.promote(region)) {
            return Err(no_replica(arn, region));
        }
        relatives.values_mut().for_each(|relative| relative.multi_region.clone_from(&self.multi_region));
        Ok(())
    }
}

/// The refusal of what is done to primary keys only.
pub(super) fn not_primary(arn: &str) -> KmsError {
    KmsError::new(Code::UnsupportedOperationException, format!("{arn} is not a multi-region primary key."))
}

/// There is no replica of a key in that region.
pub fn no_replica(arn: &str, region: &str) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("There is no replica of {arn} in {region}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{fixtures::*, material::MaterialId};

    #[test]
    fn a_replica_is_promoted_in_its_place() {
        let mut family = MultiRegion { primary: "a".into(), replicas: vec!["b".into(), "c".into()] };
        assert!(!family.promote("d") && !family.promote("a"));
        assert!(family.promote("c"));
        assert_eq!(family, MultiRegion { primary: "c".into(), replicas: vec!["b".into(), "a".into()] });
        family.leave("b");
        assert_eq!(Vec::from_iter(family.regions()), ["c", "a"]);
    }

    #[test]
    fn a_replica_shares_the_material_that_was_made_here() {
        let (key, relatives) = primary_and_replica(Origin::AwsKms);
        let replica = &relatives[ELSEWHERE];
        assert_eq!((replica.region(), replica.state()), (ELSEWHERE, KeyState::Enabled));
        assert_eq!((replica.materials(), replica.multi_region()), (key.materials(), key.multi_region()));
    }

    #[test]
    fn a_replica_waits_for_the_material_that_was_imported() {
        let (_, relatives) = primary_and_replica(Origin::External);
        let replica = &relatives[ELSEWHERE];
        assert_eq!((replica.state(), replica.materials().len()), (KeyState::PendingImport, 0));
        assert_eq!(replica.current_material_id(), Some(MaterialId([1; 32])));
    }

    #[test]
    fn a_region_has_one_of_them() {
        let (mut key, mut relatives) = primary_and_replica(Origin::AwsKms);
        let own = relatives[ELSEWHERE].clone();
        let refused = key.add_replica(&mut relatives, own, ARN).expect_err("refused");
        assert_eq!(refused.code, Code::AlreadyExistsException);
        let refused = key_of_kms().add_replica(&mut relatives, key_of_kms(), ARN).expect_err("refused");
        assert_eq!(refused.code, Code::UnsupportedOperationException);
    }

    #[test]
    fn every_relative_knows_who_is_primary() {
        let (mut key, mut relatives) = primary_and_replica(Origin::AwsKms);
        assert!(key.is_primary() && !relatives[ELSEWHERE].is_primary());
        assert_eq!(key.promote(&mut relatives, "eu-test-9", ARN).expect_err("refused").code, Code::NotFoundException);
        key.promote(&mut relatives, ELSEWHERE, ARN).expect("promoted");
        assert!(!key.is_primary() && relatives[ELSEWHERE].is_primary());
        assert!(key.demand_primary(ARN).is_err() && key.regions_of_primary(ARN).is_err());
        assert!(key_of_kms().demand_primary(ARN).is_ok() && key_of_kms().regions_of_primary(ARN).is_err());
    }
}
