//! Multi-Region keys: what is done to a key and its relatives in other regions, all or none of them. It is done at once, so
//! nobody ever finds a key Creating or Updating.
//!
//! A multi-Region key is a key in each region with the same id and the same materials; on an HSM they share one object, which
//! goes with the last of them. ReplicateKey alone answers Creating, as AWS does, for who waits for Enabled.

use crate::{
    access::{Authorized, Resolved},
    arn::Realm,
    error::KmsError,
    key::{
        Key,
        reference::{KeyId, no_such_key},
        state::Demand,
    },
    kms::cx::Cx,
};

impl Cx<'_> {
    /// The same realm in another region.
    ///
    /// # Errors
    /// `ValidationException` if that region is not served.
    pub fn realm_in(&self, region: &str) -> Result<Realm, KmsError> {
        match self.kms.serves(region) {
            true => Ok(Realm { region: region.to_owned(), ..self.realm().clone() }),
            false => Err(KmsError::invalid(format!("The region {region} is not served here."))),
        }
    }

    /// The relative of a key in `realm`.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn resolve_in(&self, realm: &Realm, id: KeyId) -> Result<Resolved, KmsError> {
        let entry = self.kms.store.view().key(&realm.region, id);
        let entry = entry.ok_or_else(|| no_such_key(&realm.arn(format_args!("key/{id}"))))?;
        let resolved = Resolved::new(entry.at(self.now()), None, realm);
        self.note(resolved.arn().to_owned());
        Ok(resolved)
    }

    /// Puts a replica of the key that `may` authorizes beside it; `own` is what it does not have in common with its relatives.
    ///
    /// # Errors
    /// Those of `may`; `AlreadyExistsException`; as the state table says; else as the store answers.
    pub async fn add_replica(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        own: &Key,
    ) -> Result<Key, KmsError> {
        let region = own.region();
        let arn = own.arn(self.realm());
        let family = self.change_family(may, Demand::Replicate, |primary, relatives| {
            primary.add_replica(relatives, own.clone(), &arn)
        });
        let mut family = family.await?;
        family.remove(region).ok_or_else(|| KmsError::internal("a replica is not among its relatives"))
    }

    /// Makes the replica in `region` of the key that `may` authorizes the primary key.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException` if there is none; as the state table says; else as the store answers.
    pub async fn promote(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        region: &str,
    ) -> Result<(), KmsError> {
        let promoted = self.change_family(may, Demand::UpdatePrimary, |own, relatives| {
            let arn = own.arn(self.realm());
            own.promote(relatives, region, &arn)
        });
        promoted.await.map(drop)
    }
}
