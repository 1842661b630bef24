//! Tombstones: what is left of keys that were deleted.
//!
//! A database and an HSM share no transaction. So the key gives way to its tombstone first, with all that has to be destroyed
//! on it, and from then on the key is gone for everybody; what is destroyed after it is what no key names any more.

use super::{
    Actor, ChangeError, Store, StoreError, StoreErrorKind, Unrecorded,
    document::StoredDocument,
    driver::Write,
    keys::{StoredKey, key_name},
};
use crate::{
    clock::{Moment, Timestamp},
    key::{Key, alias::Alias, grant::Grant, reference::KeyId, tombstone::Tombstone},
};

/// The parent of a tombstone with something left to do, by which it is found.
pub(super) const UNFINISHED: &str = "unfinished";
const DELETE: &str = "delete the key";
const LIST: &str = "list the tombstones";
/// How many tombstones are read at once.
const PAGE: i64 = 1000;

impl StoredDocument for Tombstone {
    const KIND: &'static str = "tombstone";

    /// A replica can be made again under its old id, and be deleted again.
    fn id(&self) -> String {
        format!("{}/{}", key_name(&self.region, self.id), self.deleted.ms())
    }

    fn parent(&self) -> Option<String> {
        self.destroyed.is_none().then(|| UNFINISHED.to_owned())
    }
}

impl Store {
    /// Puts the tombstone that `bury` makes of a key and its relatives in the place of the key, its aliases and its grants,
    /// and tells the relatives, all in one transaction. `None`, and nothing is changed, if the key is gone already, or `bury` finds that it is
    /// not to be deleted after all.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete_key(
        &self,
        region: &str,
        id: KeyId,
        moment: Moment,
        bury: impl FnOnce(&Key, &[&Key]) -> Option<Tombstone>,
    ) -> Result<Option<Tombstone>, StoreError> {
        let mut write = self.begin(DELETE, &Unrecorded).await?;
        match write.delete_key(region, id, moment, bury).await? {
            Some(tombstone) => self.commit(write, &Unrecorded).await.map(|()| Some(tombstone)),
            None => write.roll_back().await.map(|()| None),
        }
    }

    /// Notes that nothing is left of a deleted key, with the record of `actor`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finish_tombstone(
        &self,
        actor: &impl Actor,
        tombstone: &Tombstone,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let finish = |tombstone: &mut Tombstone| {
            tombstone.remains.clear();
            tombstone.destroyed = Some(now);
            Ok::<(), std::convert::Infallible>(())
        };
        match self.change("finish the tombstone", actor, &tombstone.id(), finish).await {
            Ok(_) | Err(ChangeError::NotFound) => Ok(()),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }

    /// Tombstones with something left to do.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unfinished_tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        let text = "SELECT id, body FROM documents WHERE kind = $1 AND parent = $2 ORDER BY id";
        let query = sqlx::query_as(text).bind(Tombstone::KIND).bind(UNFINISHED);
        let mut connection = self.0.driver.reader(LIST).await?;
        let rows: Vec<(String, String)> = query.fetch_all(&mut *connection).await.map_err(StoreError::sql(LIST))?;
        connection.give_back();
        Ok(readable(rows))
    }

    /// The tombstones after `after`, by region, key id and time, a page of them; none when there are no more.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tombstones(&self, after: Option<&Tombstone>) -> Result<Vec<Tombstone>, StoreError> {
        let text = "SELECT id, body FROM documents WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3";
        let after = after.map(StoredDocument::id).unwrap_or_default();
        let query = sqlx::query_as(text).bind(Tombstone::KIND).bind(after).bind(PAGE);
        let mut connection = self.0.driver.reader(LIST).await?;
        let rows: Vec<(String, String)> = query.fetch_all(&mut *connection).await.map_err(StoreError::sql(LIST))?;
        connection.give_back();
        Ok(readable(rows))
    }
}

impl Write {
    async fn delete_key(
        &mut self,
        region: &str,
        id: KeyId,
        moment: Moment,
        bury: impl FnOnce(&Key, &[&Key]) -> Option<Tombstone>,
    ) -> Result<Option<Tombstone>, StoreError> {
        let name = key_name(region, id);
        let mut relatives = self.family(region, id).await?.unwrap_or_default();
        let Some(own) = relatives.remove(region) else { return Ok(None) };
        let others: Vec<_> = relatives.values().map(|relative| &relative.key).collect();
        let Some(tombstone) = bury(&own.key, &others) else { return Ok(None) };
        self.delete_children(Alias::KIND, &name).await?;
        self.delete_children(Grant::KIND, &name).await?;
        self.delete(Key::KIND, &name).await?;
        for StoredKey { mut key, revision } in relatives.into_values() {
            key.lose_relative(region, moment);
            self.replace(&key, revision).await?;
        }
        self.forget_uses(region, id).await?;
        match self.insert(&tombstone).await? {
            true => Ok(Some(tombstone)),
            false => Err(StoreError::new(DELETE, StoreErrorKind::Conflict)),
        }
    }
}

/// One that cannot be read hides no other.
fn readable(rows: Vec<(String, String)>) -> Vec<Tombstone> {
    let read = |(id, body): (String, String)| {
        let tombstone = Tombstone::read(LIST, &id, &body);
        tombstone.inspect_err(|error| tracing::error!(id, %error, "a stored tombstone cannot be read")).ok()
    };
    rows.into_iter().filter_map(read).collect()
}
