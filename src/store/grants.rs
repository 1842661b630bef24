//! Grants: documents that belong to a key.

use super::{
    Actor, ChangeError, Store, StoreError, StoreErrorKind, WriteOutcome, document::StoredDocument, keys::key_name,
};
use crate::key::grant::{Grant, GrantId};

/// The outcome of a new grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantInsert {
    /// It is stored.
    Done,
    /// The key has a grant of these terms and this name: that one.
    There(GrantId),
    /// The key has as many grants as it may have.
    TooMany,
    /// There is no such key (any more).
    KeyGone,
}

impl StoredDocument for Grant {
    const KIND: &'static str = "grant";

    fn id(&self) -> String {
        format!("{}/{}", key_name(&self.region, self.key), self.id)
    }

    fn parent(&self) -> Option<String> {
        Some(key_name(&self.region, self.key))
    }
}

impl Store {
    /// Adds a grant, if `judge` lets it, its key is there, has fewer than `limit` and, where the grant has a name, none like it.
    ///
    /// The view shows what is stored, so it is asked, and its indexes, instead of the database.
    ///
    /// # Errors
    /// If `judge` refuses, or if the store fails.
    pub async fn insert_grant<E>(
        &self,
        actor: &impl Actor,
        grant: &Grant,
        limit: usize,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<GrantInsert, ChangeError<E>> {
        let mut write = self.begin("store the grant", actor).await?;
        let outcome = match (judge(), self.room_for(grant, limit)) {
            (Err(refused), _) => Err(ChangeError::Refused(refused)),
            (Ok(()), Some(obstacle)) => Ok(WriteOutcome::Same(obstacle)),
            (Ok(()), None) => match write.insert(grant).await {
                Ok(true) => Ok(WriteOutcome::Changed(GrantInsert::Done)),
                Ok(false) => Err(StoreError::new("store the grant", StoreErrorKind::Conflict).into()),
                Err(error) => Err(error.into()),
            },
        };
        self.end(write, actor, outcome).await
    }

    fn room_for(&self, grant: &Grant, limit: usize) -> Option<GrantInsert> {
        let view = self.view();
        if view.key(&grant.region, grant.key).is_none() {
            return Some(GrantInsert::KeyGone);
        }
        if let Some(there) = view.grant_like(grant) {
            return Some(GrantInsert::There(there));
        }
        (view.count_grants(&grant.region, grant.key) >= limit).then_some(GrantInsert::TooMany)
    }

    /// Deletes a grant, if `judge` lets it; `false` if there is none.
    ///
    /// # Errors
    /// If `judge` refuses, or if the store fails.
    pub async fn delete_grant<E>(
        &self,
        actor: &impl Actor,
        grant: &Grant,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, ChangeError<E>> {
        self.delete::<Grant, E>("delete the grant", actor, &grant.id(), judge).await
    }
}
