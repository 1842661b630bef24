//! Aliases: names for keys, unique in their region.

use super::{
    Store, StoreError,
    document::Document,
    driver::{Write, read},
    keys::key_name,
};
use crate::{
    clock::Timestamp,
    key::{Alias, Key, reference::KeyId},
};

/// What came of a new alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasInsert {
    /// It is stored.
    Done,
    /// There is an alias of that name.
    NameTaken,
    /// The key has as many aliases as it may have.
    TooMany,
    /// There is no such key (any more).
    TargetGone,
}

/// What came of pointing an alias at another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasMove {
    /// It points there now.
    Done,
    /// There is no alias of that name (any more).
    NotFound,
    /// The key has as many aliases as it may have.
    TooMany,
    /// There is no such key (any more).
    TargetGone,
}

impl Document for Alias {
    const KIND: &'static str = "alias";

    fn id(&self) -> String {
        alias_name(&self.region, &self.name)
    }

    fn parent(&self) -> Option<String> {
        Some(key_name(&self.region, self.target))
    }
}

fn alias_name(region: &str, name: &str) -> String {
    format!("{region}/{name}")
}

impl Store {
    /// Adds an alias, if its name is free and its key is there and has fewer than `limit_per_key`: all decided in the
    /// transaction that writes it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn insert_alias(&self, alias: &Alias, limit_per_key: usize) -> Result<AliasInsert, StoreError> {
        let mut write = self.0.driver.write("store the alias").await?;
        if write.has(Alias::KIND, &alias.id()).await? {
            return Ok(AliasInsert::NameTaken);
        }
        match room(&mut write, alias, limit_per_key).await? {
            Room::Free => {}
            Room::Full => return Ok(AliasInsert::TooMany),
            Room::NoKey => return Ok(AliasInsert::TargetGone),
        }
        if !write.insert(alias).await? {
            return Ok(AliasInsert::NameTaken);
        }
        self.commit(write).await?;
        Ok(AliasInsert::Done)
    }

    /// Points an alias at another key, under the same conditions as [`Self::insert_alias`].
    ///
    /// # Errors
    /// If the store fails.
    pub async fn move_alias(
        &self,
        region: &str,
        name: &str,
        target: KeyId,
        now: Timestamp,
        limit_per_key: usize,
    ) -> Result<AliasMove, StoreError> {
        const WHAT: &str = "move the alias";
        let id = alias_name(region, name);
        let mut write = self.0.driver.write(WHAT).await?;
        let Some(stored) = read(write.connection(), WHAT, Alias::KIND, &id).await? else {
            return Ok(AliasMove::NotFound);
        };
        let alias = Alias { target, updated: now, ..Alias::read(WHAT, &id, &stored.body)? };
        match room(&mut write, &alias, limit_per_key).await? {
            Room::Free => {}
            Room::Full => return Ok(AliasMove::TooMany),
            Room::NoKey => return Ok(AliasMove::TargetGone),
        }
        if !write.replace(&alias, stored.revision).await? {
            return Ok(AliasMove::NotFound);
        }
        self.commit(write).await?;
        Ok(AliasMove::Done)
    }

    /// Deletes an alias; `false` if there is none.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete_alias(&self, region: &str, name: &str) -> Result<bool, StoreError> {
        let mut write = self.0.driver.write("delete the alias").await?;
        if !write.delete(Alias::KIND, &alias_name(region, name)).await? {
            return Ok(false);
        }
        self.commit(write).await?;
        Ok(true)
    }
}

/// Whether a key can take one more alias.
enum Room {
    Free,
    Full,
    NoKey,
}

async fn room(write: &mut Write<'_>, alias: &Alias, limit: usize) -> Result<Room, StoreError> {
    let key = key_name(&alias.region, alias.target);
    if !write.has(Key::KIND, &key).await? {
        return Ok(Room::NoKey);
    }
    let (aliases, own) = (write.children(Alias::KIND, &key).await?, alias.id());
    let others = aliases.iter().filter(|name| **name != own).count();
    Ok(if others < limit { Room::Free } else { Room::Full })
}
