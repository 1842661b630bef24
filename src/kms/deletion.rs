//! Deletion of keys: a key that is due gives way to its tombstone, and what HSMs have of it is destroyed afterwards.
//!
//! The tombstone takes the place of the key and its aliases in one transaction, which looks once more whether the key is due;
//! from then on CancelKeyDeletion comes too late. It names what HSMs may have of the key until each has destroyed it; an HSM
//! that is away, or not in the configuration any more, leaves it unfinished and holds up no other. Then `DeleteKey` is written
//! down. A wrapped key is in no tombstone and, within a minute, in no file of the store: the database overwrites what it
//! deletes, and each sweep cuts the write-ahead log. Backups are the operator's.

use std::sync::Arc;

use crate::{
    clock::Moment,
    error::KmsError,
    failure,
    key::{Key, tombstone::Tombstone},
    kms::{Kms, service_change::ServiceChange},
};

impl Kms {
    /// Keys that are to be deleted at this moment.
    pub fn keys_due_for_deletion(&self, moment: Moment, n: usize) -> Vec<Key> {
        self.store.view().due_for_deletion(moment, n).iter().map(|entry| entry.key.clone()).collect()
    }

    /// Deletes a key, if it is due when that is done, so that it is gone for everybody; whether it was. What HSMs have of it is
    /// left to [`Self::finish_deletion`].
    ///
    /// # Errors
    /// As the store answers; the key stays pending deletion then, and unusable.
    pub async fn delete_key(&self, key: &Key, moment: Moment) -> Result<bool, KmsError> {
        let realm = self.realm(key.region());
        let bury = |key: &Key, relatives: &[&Key]| {
            key.is_due_for_deletion(moment).then(|| Tombstone::of(key, relatives, &realm, moment.now))
        };
        let buried = self.store.delete_key(key.region(), key.id(), moment, bury).await.map_err(failure::store)?;
        Ok(buried.is_some())
    }

    /// Deletions of which something is left to do. Those in a custom key store wait until its HSM can be reached.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn unfinished_deletions(&self) -> Result<Vec<Tombstone>, KmsError> {
        let all = self.store.unfinished_tombstones().await.map_err(failure::store)?;
        Ok(all.into_iter().filter(|tombstone| self.reaches(tombstone.custom_key_store.as_ref())).collect())
    }

    /// Destroys what HSMs have of a key that was deleted, sees that it is gone, and writes that down.
    ///
    /// # Errors
    /// As HSM, audit trail and store answer; it can be done again then, and a second record is better than none.
    pub async fn finish_deletion(&self, tombstone: &Tombstone) -> Result<(), KmsError> {
        for material in &tombstone.remains {
            self.destroy(&self.hsm_in(tombstone.custom_key_store.as_ref())?, Arc::clone(material)).await?;
        }
        let change = self.own_change(ServiceChange::deletion(tombstone));
        self.store.finish_tombstone(&change, tombstone, self.now()).await.map_err(failure::store)?;
        self.deliver_records().await.map(drop)
    }

    /// Has the store keep nothing of what was deleted: not that it ever was, after some time, and no byte of it in its files.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn scrub_store(&self) -> Result<(), KmsError> {
        self.store.prune_feed(self.running().await?).await.map_err(failure::store)?;
        self.store.scrub().await.map_err(failure::store)
    }
}
