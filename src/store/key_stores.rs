//! Custom key stores. What may become of one depends on the others and on its keys, so whoever changes one is shown them in the
//! transaction that changes it.

use super::{
    ChangeError, Kind, Store, StoreError,
    document::Document,
    driver::{Write, read},
    tombstones::UNFINISHED,
};
use crate::key::{
    Key,
    custom_store::{CustomKeyStore, KeyStoreId},
    tombstone::Tombstone,
};

/// What there is beside the key store that is changed.
pub struct Around {
    /// Every other key store, of every region.
    pub others: Vec<CustomKeyStore>,
    /// Whether it has keys, also such that are pending deletion, or deleted and not yet destroyed on its HSM.
    pub has_keys: bool,
}

impl Document for CustomKeyStore {
    const KIND: &'static str = "key_store";

    fn id(&self) -> String {
        key_store_name(&self.region, self.id.as_str())
    }
}

/// The name of a key store's document.
pub(super) fn key_store_name(region: &str, id: &str) -> String {
    format!("{region}/{id}")
}

impl Store {
    /// Adds a key store, if `judge` lets it.
    ///
    /// # Errors
    /// What `judge` refuses, or if the store fails.
    pub async fn insert_key_store<E>(
        &self,
        key_store: &CustomKeyStore,
        judge: impl FnOnce(&Around) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        const WHAT: &str = "store the key store";
        let mut write = self.0.driver.write(WHAT).await?;
        let around = around(&mut write, &key_store.id(), key_store.id.as_str()).await?;
        judge(&around).map_err(ChangeError::Refused)?;
        if !write.insert(key_store).await? {
            return Err(StoreError::new(WHAT, Kind::Conflict).into());
        }
        Ok(self.commit(write).await?)
    }

    /// Changes a key store as `change` says.
    ///
    /// # Errors
    /// What `change` refuses, if there is no such key store, or if the store fails. Nothing is changed then.
    pub async fn change_key_store<E>(
        &self,
        region: &str,
        id: &str,
        change: impl FnOnce(&mut CustomKeyStore, &Around) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        const WHAT: &str = "change the key store";
        let name = key_store_name(region, id);
        let mut write = self.0.driver.write(WHAT).await?;
        let stored = read(write.connection(), WHAT, CustomKeyStore::KIND, &name).await?.ok_or(ChangeError::NotFound)?;
        let old = CustomKeyStore::read(WHAT, &name, &stored.body)?;
        let mut new = old.clone();
        change(&mut new, &around(&mut write, &name, id).await?).map_err(ChangeError::Refused)?;
        if new == old {
            return Ok(());
        }
        write.replace(&new, stored.revision).await?;
        Ok(self.commit(write).await?)
    }

    /// Deletes a key store, if `judge` lets it, and the intents of objects on its HSM: nobody can get there any more.
    ///
    /// # Errors
    /// What `judge` refuses, if there is no such key store, or if the store fails.
    pub async fn delete_key_store<E>(
        &self,
        region: &str,
        id: &str,
        judge: impl FnOnce(&CustomKeyStore, &Around) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        const WHAT: &str = "delete the key store";
        let name = key_store_name(region, id);
        let mut write = self.0.driver.write(WHAT).await?;
        let stored = read(write.connection(), WHAT, CustomKeyStore::KIND, &name).await?.ok_or(ChangeError::NotFound)?;
        let key_store = CustomKeyStore::read(WHAT, &name, &stored.body)?;
        judge(&key_store, &around(&mut write, &name, id).await?).map_err(ChangeError::Refused)?;
        forget_intents(&mut write, WHAT, &key_store.id).await?;
        write.delete(CustomKeyStore::KIND, &name).await?;
        Ok(self.commit(write).await?)
    }
}

async fn around(write: &mut Write<'_>, name: &str, id: &str) -> Result<Around, StoreError> {
    let has_keys = !write.children(Key::KIND, name).await?.is_empty() || has_remains(write, id).await?;
    let all = write.all::<CustomKeyStore>().await?;
    let others = all.into_iter().filter(|other| Document::id(other) != name).collect();
    Ok(Around { others, has_keys })
}

/// Whether something of deleted keys may still be on its HSM.
async fn has_remains(write: &mut Write<'_>, id: &str) -> Result<bool, StoreError> {
    let text = "SELECT COUNT(*) FROM documents \
                WHERE kind = $1 AND parent = $2 AND json_extract(body, '$.custom_key_store') = $3";
    let query = sqlx::query_scalar(text).bind(Tombstone::KIND).bind(UNFINISHED).bind(id);
    let count: i64 =
        query.fetch_one(write.connection()).await.map_err(StoreError::sql("look for what deleted keys left"))?;
    Ok(count > 0)
}

async fn forget_intents(write: &mut Write<'_>, what: &'static str, id: &KeyStoreId) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM intents WHERE key_store = $1").bind(id.as_str());
    query.execute(write.connection()).await.map(drop).map_err(StoreError::sql(what))
}
