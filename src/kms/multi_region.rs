//! Multi-Region keys: what is done to a key and its relatives in other regions, all or none of them. It is done at once, so
//! nobody ever finds a key Creating or Updating.

use crate::{
    access::{Authorized, Resolved},
    arn::Realm,
    error::{Code, KmsError},
    key::{
        Key,
        multi_region::MultiRegion,
        reference::{KeyId, no_such_key},
        state::Demand,
    },
    kms::cx::Cx,
};

/// Whether the key is the one on which what all its relatives share is decided: any but a replica.
///
/// # Errors
/// `UnsupportedOperationException`.
pub fn demand_primary(key: &Authorized) -> Result<(), KmsError> {
    if key.key().is_primary() { Ok(()) } else { Err(not_primary(key.arn())) }
}

/// The regions of a multi-Region primary key and its replicas.
///
/// # Errors
/// `UnsupportedOperationException` for any other key.
pub fn family_of(key: &Authorized) -> Result<&MultiRegion, KmsError> {
    let family = key.key().multi_region.as_ref().filter(|_| key.key().is_primary());
    family.ok_or_else(|| not_primary(key.arn()))
}

/// What is done to a primary key only was asked of another.
pub(super) fn not_primary(arn: &str) -> KmsError {
    KmsError::new(Code::UnsupportedOperationException, format!("{arn} is not a multi-region primary key."))
}

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
    /// What `may` refuses; `AlreadyExistsException`; as the state table says; else as the store answers.
    pub async fn add_replica(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        own: &Key,
    ) -> Result<Key, KmsError> {
        let region = &own.region;
        let family = self.change_family(may, Demand::Replicate, |primary, relatives| {
            let family = primary.multi_region.as_mut().ok_or_else(|| not_primary(&own.arn(self.realm())))?;
            if family.regions().any(|taken| taken == region) {
                let text = format!("There is a key {} in {region} already.", own.id);
                return Err(KmsError::new(Code::AlreadyExistsException, text));
            }
            family.replicas.push(region.clone());
            relatives.values_mut().for_each(|one| one.multi_region.clone_from(&primary.multi_region));
            relatives.insert(region.clone(), primary.replica(own.clone()));
            Ok(())
        });
        let mut family = family.await?;
        family.remove(region).ok_or_else(|| KmsError::internal("a replica is not among its relatives"))
    }

    /// Makes the replica in `region` of the key that `may` authorizes the primary key.
    ///
    /// # Errors
    /// What `may` refuses; `NotFoundException` if there is none; as the state table says; else as the store answers.
    pub async fn promote(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        region: &str,
    ) -> Result<(), KmsError> {
        let promoted = self.change_family(may, Demand::UpdatePrimary, |own, relatives| {
            if !own.multi_region.as_mut().is_some_and(|family| family.promote(region)) {
                return Err(no_replica(&own.arn(self.realm()), region));
            }
            relatives.values_mut().for_each(|one| one.multi_region.clone_from(&own.multi_region));
            Ok(())
        });
        promoted.await.map(drop)
    }
}

/// There is no replica of a key in that region.
pub fn no_replica(arn: &str, region: &str) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("There is no replica of {arn} in {region}."))
}
