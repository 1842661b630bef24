//! Custom key stores. What may become of one depends on the others and on its keys, so whoever changes one is shown them in the
//! transaction that changes it.

use super::{
    Actor, ChangeError, Store, StoreError, StoreErrorKind, WriteOutcome, document::StoredDocument, driver::Write,
    tombstones::UNFINISHED,
};
use crate::key::{
    Key,
    custom_store::{CustomKeyStore, KeyStoreId},
    tombstone::Tombstone,
};

const DELETE: &str = "delete the key store";

/// The other key stores, and the keys, that decide if a key store can be changed.
pub struct KeyStoreSurroundings {
    /// Every other key store, of every region.
    pub others: Vec<CustomKeyStore>,
    /// True if it has keys, also such that are pending deletion, or deleted and not yet destroyed on its HSM.
    pub has_keys: bool,
}

impl StoredDocument for CustomKeyStore {
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
    /// If `judge` refuses, or if the store fails.
    pub async fn insert_key_store<E>(
        &self,
        actor: &impl Actor,
        key_store: &CustomKeyStore,
        judge: impl FnOnce(&KeyStoreSurroundings) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let mut write = self.begin("store the key store", actor).await?;
        let outcome = write.insert_key_store(key_store, judge).await;
        self.end(write, actor, outcome).await
    }

    /// Changes a key store as `change` says.
    ///
    /// # Errors
    /// If `change` refuses, if there is no such key store, or if the store fails. Nothing is changed then.
    pub async fn change_key_store<E>(
        &self,
        actor: &impl Actor,
        region: &str,
        id: &str,
        change: impl FnOnce(&mut CustomKeyStore, &KeyStoreSurroundings) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let mut write = self.begin("change the key store", actor).await?;
        let outcome = match around(&mut write, &key_store_name(region, id), id).await {
            Ok(around) => write.change(&key_store_name(region, id), |key_store| change(key_store, &around)).await,
            Err(error) => Err(error.into()),
        };
        self.end(write, actor, outcome).await.map(drop)
    }

    /// Deletes a key store, if `judge` lets it, and the intents of objects on its HSM: nobody can get there any more.
    ///
    /// # Errors
    /// If `judge` refuses, if there is no such key store, or if the store fails.
    pub async fn delete_key_store<E>(
        &self,
        actor: &impl Actor,
        region: &str,
        id: &str,
        judge: impl FnOnce(&CustomKeyStore, &KeyStoreSurroundings) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let mut write = self.begin(DELETE, actor).await?;
        let outcome = write.delete_key_store(&key_store_name(region, id), id, judge).await;
        self.end(write, actor, outcome).await
    }
}

impl Write {
    async fn insert_key_store<E>(
        &mut self,
        key_store: &CustomKeyStore,
        judge: impl FnOnce(&KeyStoreSurroundings) -> Result<(), E>,
    ) -> Result<WriteOutcome<()>, ChangeError<E>> {
        let around = around(self, &key_store.id(), key_store.id.as_str()).await?;
        judge(&around).map_err(ChangeError::Refused)?;
        match self.insert(key_store).await? {
            true => Ok(WriteOutcome::Changed(())),
            false => Err(StoreError::new("store the key store", StoreErrorKind::Conflict).into()),
        }
    }

    async fn delete_key_store<E>(
        &mut self,
        name: &str,
        id: &str,
        judge: impl FnOnce(&CustomKeyStore, &KeyStoreSurroundings) -> Result<(), E>,
    ) -> Result<WriteOutcome<()>, ChangeError<E>> {
        let (key_store, _) = self.document::<CustomKeyStore>(name).await?.ok_or(ChangeError::NotFound)?;
        judge(&key_store, &around(self, name, id).await?).map_err(ChangeError::Refused)?;
        forget_intents(self, DELETE, &key_store.id).await?;
        self.delete(CustomKeyStore::KIND, name).await?;
        Ok(WriteOutcome::Changed(()))
    }
}

async fn around(write: &mut Write, name: &str, id: &str) -> Result<KeyStoreSurroundings, StoreError> {
    let has_keys = !write.children(Key::KIND, name).await?.is_empty() || has_remains(write, id).await?;
    let all = write.all::<CustomKeyStore>().await?;
    let others = all.into_iter().filter(|other| StoredDocument::id(other) != name).collect();
    Ok(KeyStoreSurroundings { others, has_keys })
}

/// True if something of deleted keys may still be on its HSM.
async fn has_remains(write: &mut Write, id: &str) -> Result<bool, StoreError> {
    let text = "SELECT COUNT(*) FROM documents \
                WHERE kind = $1 AND parent = $2 AND json_extract(body, '$.custom_key_store') = $3";
    let query = sqlx::query_scalar(text).bind(Tombstone::KIND).bind(UNFINISHED).bind(id);
    let count: i64 =
        query.fetch_one(write.connection()).await.map_err(StoreError::sql("look for what deleted keys left"))?;
    Ok(count > 0)
}

async fn forget_intents(write: &mut Write, what: &'static str, id: &KeyStoreId) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM intents WHERE key_store = $1").bind(id.as_str());
    query.execute(write.connection()).await.map(drop).map_err(StoreError::sql(what))
}
