//! The last use of each key: noted in memory by each call, written to the store now and then, and at a stop.
//!
//! What a process has not written when it is killed is lost, so the store may lag behind by the period of the task that writes them.

use std::collections::{HashMap, hash_map::Entry};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    clock::Timestamp,
    error::KmsError,
    failure,
    key::{
        Key,
        reference::KeyId,
        usage::{Use, UsingOperation},
    },
    kms::{Kms, cx::Cx, record::Record},
};

/// Calls with different keys seldom meet at the same one.
const SHARDS: usize = 64;
/// How many uses are written in one transaction.
const BATCH: usize = 1000;

type Name = (String, KeyId);

/// Uses that are not in the store yet, each key's last.
pub struct Uses([Mutex<HashMap<Name, Use>>; SHARDS]);

impl Default for Uses {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Uses {
    /// Notes a call that has succeeded, if it was a use.
    pub(super) fn note(&self, record: &Record) {
        let Some(operation) = UsingOperation::from_name(record.operation_name()) else { return };
        let Record { time, event_id, request_id, .. } = *record;
        for id in &record.notes.keys {
            let last = Use { operation, time, event_id, request_id };
            self.shard(*id).insert((record.region.clone(), *id), last);
        }
    }

    fn last(&self, region: &str, id: KeyId) -> Option<Use> {
        self.shard(id).get(&(region.to_owned(), id)).copied()
    }

    fn take(&self) -> Vec<(Name, Use)> {
        self.0.iter().flat_map(|shard| std::mem::take(&mut *shard.lock())).collect()
    }

    /// Puts back what could not be written, unless a later use was noted meanwhile.
    fn put_back(&self, uses: &[(Name, Use)]) {
        for (name, last) in uses {
            if let Entry::Vacant(vacant) = self.shard(name.1).entry(name.clone()) {
                vacant.insert(*last);
            }
        }
    }

    /// Ids are random, so any of their bytes will do.
    fn shard(&self, id: KeyId) -> MutexGuard<'_, HashMap<Name, Use>> {
        let (_, bytes) = id.to_parts();
        self.0[usize::from(bytes[0]) % SHARDS].lock()
    }
}

impl Kms {
    /// Writes the uses of keys and access keys to the store; answers of how many.
    ///
    /// # Errors
    /// As the store answers; what could not be written is written the next time.
    pub async fn write_uses(&self) -> Result<usize, KmsError> {
        let uses = self.uses.take();
        for (written, batch) in uses.chunks(BATCH).enumerate() {
            if let Err(error) = self.store.store_uses(batch, self.now()).await {
                self.uses.put_back(&uses[written * BATCH..]);
                return Err(failure::store(error));
            }
        }
        Ok(uses.len() + self.authn.write_last_days().await?)
    }
}

impl Cx<'_> {
    /// The last use of a key, as far as this process knows. Another process may know of a later one until it writes it.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn last_use(&self, key: &Key) -> Result<Option<Use>, KmsError> {
        let noted = self.kms.uses.last(key.region(), key.id());
        let stored = self.kms.store.last_use(key.region(), key.id()).await.map_err(failure::store)?;
        Ok(match (noted, stored) {
            // Another process's. A date that is still to come is of a clock that was wrong.
            (Some(noted), Some(stored)) if noted.time < stored.time && stored.time <= self.now() => Some(stored),
            (noted, stored) => noted.or(stored),
        })
    }

    /// Since when uses of a key are noted.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn tracked_since(&self, key: &Key) -> Result<Timestamp, KmsError> {
        Ok(self.kms.began().await?.max(key.created()))
    }
}
