//! The last use of each key: noted in memory by each call, and written to the store by a task and at a stop.
//!
//! The store lags behind by the period of the task. When a process is killed, uses that are not written yet are lost.
//!
//! Noting costs one short lock of 64 shards. Another process knows of a use a minute late. Tracking began with the key, or with
//! the first heartbeat. Of an access key the last day is known (`authn/last_days`), noted where its signing key of that day is
//! derived, so calls pay nothing for it.

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

/// Number of shards, each with a lock of its own: calls with different keys seldom wait for each other.
const SHARDS: usize = 64;
/// How many uses are written in one transaction.
const BATCH: usize = 1000;

/// A region and a key of it.
type RegionKey = (String, KeyId);

/// The last use of each key, where it is not in the store yet.
pub struct LastUses([Mutex<HashMap<RegionKey, Use>>; SHARDS]);

impl Default for LastUses {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl LastUses {
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

    fn take(&self) -> Vec<(RegionKey, Use)> {
        self.0.iter().flat_map(|shard| std::mem::take(&mut *shard.lock())).collect()
    }

    /// Puts back uses that could not be written, unless a later one was noted meanwhile.
    fn put_back(&self, uses: &[(RegionKey, Use)]) {
        for (name, last) in uses {
            if let Entry::Vacant(vacant) = self.shard(name.1).entry(name.clone()) {
                vacant.insert(*last);
            }
        }
    }

    /// The shard of a key. Ids are random, so one of their bytes chooses it.
    fn shard(&self, id: KeyId) -> MutexGuard<'_, HashMap<RegionKey, Use>> {
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
        let uses = self.last_uses.take();
        for (written, batch) in uses.chunks(BATCH).enumerate() {
            if let Err(error) = self.store.store_uses(batch, self.now()).await {
                self.last_uses.put_back(&uses[written * BATCH..]);
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
        let noted = self.kms.last_uses.last(key.region(), key.id());
        let stored = self.kms.store.last_use(key.region(), key.id()).await.map_err(failure::store)?;
        Ok(match (noted, stored) {
            // Another process's. A date that is still to come is of a clock that was wrong.
            (Some(noted), Some(stored)) if noted.time < stored.time && stored.time <= self.now() => Some(stored),
            (noted, stored) => noted.or(stored),
        })
    }

    /// The time since which uses of a key are noted.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn tracked_since(&self, key: &Key) -> Result<Timestamp, KmsError> {
        Ok(self.kms.began().await?.max(key.created()))
    }
}
