//! Grants: documents that belong to a key.

use super::{Kind, Store, StoreError, document::Document, keys::key_name};
use crate::key::grant::{Grant, GrantId};

/// What came of a new grant.
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

impl Document for Grant {
    const KIND: &'static str = "grant";

    fn id(&self) -> String {
        format!("{}/{}", key_name(&self.region, self.key), self.id)
    }

    fn parent(&self) -> Option<String> {
        Some(key_name(&self.region, self.key))
    }
}

impl Store {
    /// Adds a grant, if its key is there, has fewer than `limit` and, where the grant has a name, none like it.
    ///
    /// Nobody else can write while the transaction is open, so a view that has followed the feed meanwhile shows what is
    /// stored: it is asked, and its indexes, instead of the database.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn insert_grant(&self, grant: &Grant, limit: usize) -> Result<GrantInsert, StoreError> {
        const WHAT: &str = "store the grant";
        let mut write = self.0.driver.write(WHAT).await?;
        self.follow().await?;
        let view = self.view();
        if view.key(&grant.region, grant.key).is_none() {
            return Ok(GrantInsert::KeyGone);
        }
        if let Some(there) = view.grant_like(grant) {
            return Ok(GrantInsert::There(there));
        }
        if view.count_grants(&grant.region, grant.key) >= limit {
            return Ok(GrantInsert::TooMany);
        }
        if !write.insert(grant).await? {
            return Err(StoreError::new(WHAT, Kind::Conflict));
        }
        self.commit(write).await?;
        Ok(GrantInsert::Done)
    }

    /// Deletes a grant; `false` if there is none.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete_grant(&self, grant: &Grant) -> Result<bool, StoreError> {
        let mut write = self.0.driver.write("delete the grant").await?;
        if !write.delete(Grant::KIND, &grant.id()).await? {
            return Ok(false);
        }
        self.commit(write).await?;
        Ok(true)
    }
}
