//! Aliases: names for keys, unique in their region.

use super::{
    Actor, ChangeError, Store, StoreError, WriteOutcome, document::StoredDocument, driver::Write, keys::key_name,
};
use crate::{
    clock::Timestamp,
    key::{Key, alias::Alias, reference::KeyId},
};

/// The outcome of a new alias.
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

/// The outcome of pointing an alias at another key.
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

impl StoredDocument for Alias {
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
    /// Adds an alias, if `judge` lets it, its name is free and its key is there and has fewer than `limit_per_key`: all decided in the
    /// transaction that writes it.
    ///
    /// # Errors
    /// If `judge` refuses, or if the store fails.
    pub async fn insert_alias<E>(
        &self,
        actor: &impl Actor,
        alias: &Alias,
        limit_per_key: usize,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<AliasInsert, ChangeError<E>> {
        let mut write = self.begin("store the alias", actor).await?;
        let outcome = match judge() {
            Ok(()) => write.insert_alias(alias, limit_per_key).await.map_err(ChangeError::Store),
            Err(refused) => Err(ChangeError::Refused(refused)),
        };
        self.end(write, actor, outcome).await
    }

    /// Points an alias at another key, under the same conditions as [`Self::insert_alias`].
    ///
    /// # Errors
    /// As [`Self::insert_alias`].
    pub async fn move_alias<E>(
        &self,
        actor: &impl Actor,
        alias: AliasName<'_>,
        target: (KeyId, Timestamp),
        limit_per_key: usize,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<AliasMove, ChangeError<E>> {
        let mut write = self.begin("move the alias", actor).await?;
        let outcome = match judge() {
            Ok(()) => write.move_alias(alias, target, limit_per_key).await.map_err(ChangeError::Store),
            Err(refused) => Err(ChangeError::Refused(refused)),
        };
        self.end(write, actor, outcome).await
    }

    /// Deletes an alias, if `judge` lets it; `false` if there is none.
    ///
    /// # Errors
    /// If `judge` refuses, or if the store fails.
    pub async fn delete_alias<E>(
        &self,
        actor: &impl Actor,
        AliasName { region, name }: AliasName<'_>,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, ChangeError<E>> {
        self.delete::<Alias, E>("delete the alias", actor, &alias_name(region, name), judge).await
    }
}

/// The name of an alias, and its region.
#[derive(Debug, Clone, Copy)]
pub struct AliasName<'a> {
    /// The region.
    pub region: &'a str,
    /// The name, which begins with `alias/`.
    pub name: &'a str,
}

impl Write {
    async fn insert_alias(
        &mut self,
        alias: &Alias,
        limit_per_key: usize,
    ) -> Result<WriteOutcome<AliasInsert>, StoreError> {
        if self.has(Alias::KIND, &alias.id()).await? {
            return Ok(WriteOutcome::Same(AliasInsert::NameTaken));
        }
        match alias_quota(self, alias, limit_per_key).await? {
            AliasQuota::Free => {}
            AliasQuota::Full => return Ok(WriteOutcome::Same(AliasInsert::TooMany)),
            AliasQuota::NoKey => return Ok(WriteOutcome::Same(AliasInsert::TargetGone)),
        }
        self.insert(alias).await?;
        Ok(WriteOutcome::Changed(AliasInsert::Done))
    }

    async fn move_alias(
        &mut self,
        AliasName { region, name }: AliasName<'_>,
        (target, updated): (KeyId, Timestamp),
        limit_per_key: usize,
    ) -> Result<WriteOutcome<AliasMove>, StoreError> {
        let Some((alias, revision)) = self.document::<Alias>(&alias_name(region, name)).await? else {
            return Ok(WriteOutcome::Same(AliasMove::NotFound));
        };
        let alias = Alias { target, updated, ..alias };
        match alias_quota(self, &alias, limit_per_key).await? {
            AliasQuota::Free => {}
            AliasQuota::Full => return Ok(WriteOutcome::Same(AliasMove::TooMany)),
            AliasQuota::NoKey => return Ok(WriteOutcome::Same(AliasMove::TargetGone)),
        }
        self.replace(&alias, revision).await?;
        Ok(WriteOutcome::Changed(AliasMove::Done))
    }
}

/// The room that a key has for one more alias.
enum AliasQuota {
    Free,
    Full,
    NoKey,
}

async fn alias_quota(write: &mut Write, alias: &Alias, limit: usize) -> Result<AliasQuota, StoreError> {
    let key = key_name(&alias.region, alias.target);
    if !write.has(Key::KIND, &key).await? {
        return Ok(AliasQuota::NoKey);
    }
    let aliases = write.children(Alias::KIND, &key).await?;
    let own = alias.id();
    let others = aliases.iter().filter(|name| **name != own).count();
    Ok(if others < limit { AliasQuota::Free } else { AliasQuota::Full })
}
