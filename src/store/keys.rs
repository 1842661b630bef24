//! Keys, and the intents that come before their objects on an HSM.
//!
//! An HSM and a database share no transaction. So the intent to make an object is stored first, then the object is
//! made, then the key that names it is stored, which clears the intent in the same transaction. An intent that is old
//! is the evidence, and the only one, by which an object that no key names may be destroyed.

use base64::{Engine, engine::general_purpose::STANDARD};
use sqlx::{Row, sqlite::SqliteRow};

use std::collections::BTreeMap;

use super::{
    Actor, ChangeError, Store, StoreError, StoreErrorKind, WriteOutcome, document::StoredDocument, driver::Write,
    heartbeat::bigint, key_stores::key_store_name,
};
use crate::{
    clock::Running,
    identity::Asker,
    key::{
        Key,
        custom_store::{CustomKeyStore, KeyStoreId},
        material::Keeping,
        multi_region::Family,
        reference::KeyId,
        spec::KeySpec,
    },
};

const INSERT: &str = "store the key";
/// The most intents answered at once.
const INTENTS: i64 = 1000;

/// The intent to make an object with this CKA_ID on the HSM, for this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The region of the key.
    pub region: String,
    /// The key.
    pub key: KeyId,
    /// The key spec of the object.
    pub spec: KeySpec,
    /// CKA_ID of the object.
    pub cka_id: [u8; 16],
    /// The custom key store whose HSM it is made on; none for the service's own HSMs.
    pub key_store: Option<KeyStoreId>,
    /// When it was meant, by running time: a jump of the clock makes nothing old.
    pub made: Running,
}

impl StoredDocument for Key {
    const KIND: &'static str = "key";

    fn id(&self) -> String {
        key_name(self.region(), self.id())
    }

    /// Its custom key store, which cannot go before it.
    fn parent(&self) -> Option<String> {
        self.custom_key_store().map(|id| key_store_name(self.region(), id.as_str()))
    }

    fn fulfils(&self) -> Vec<String> {
        let kept = self.materials().iter().filter_map(|material| match &material.keeping {
            Keeping::Token { cka_id, .. } => Some(STANDARD.encode(cka_id)),
            Keeping::Wrapped { .. } => None,
        });
        kept.collect()
    }
}

/// The name of a key's document. A region has no slash.
pub(super) fn key_name(region: &str, id: KeyId) -> String {
    format!("{region}/{id}")
}

impl Store {
    /// Adds a key, if `judge` lets it, and clears the intents of the objects that it names.
    ///
    /// # Errors
    /// If `judge` refuses; `Conflict` if there is a key of that id, or if its custom key store is gone.
    pub async fn insert_key<E>(
        &self,
        actor: &impl Actor,
        key: &Key,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let mut write = self.begin(INSERT, actor).await?;
        let outcome = match judge() {
            Ok(()) => write.insert_key(key).await.map_err(ChangeError::Store),
            Err(refused) => Err(ChangeError::Refused(refused)),
        };
        self.end(write, actor, outcome).await
    }

    /// Changes a key as `change` says, and answers the key as it is then. `change` is asked in the transaction: what it relies on,
    /// it must check there. Intents of objects that the key now names are cleared.
    ///
    /// # Errors
    /// If `change` refuses, if there is no such key, or if the store fails. Nothing is changed then.
    pub async fn change_key<E>(
        &self,
        actor: &impl Actor,
        region: &str,
        id: KeyId,
        change: impl FnOnce(&mut Key) -> Result<(), E>,
    ) -> Result<Key, ChangeError<E>> {
        self.change("change the key", actor, &key_name(region, id), change).await
    }

    /// Changes a key and its relatives in other regions as `change` says, all or none, and answers them as they are then. It
    /// may put another relative among them, and is asked as that of [`Self::change_key`] is. Its first argument is the key.
    ///
    /// # Errors
    /// As [`Self::change_key`].
    pub async fn change_family<E>(
        &self,
        actor: &impl Actor,
        region: &str,
        id: KeyId,
        change: impl FnOnce(&mut Key, &mut Family) -> Result<(), E>,
    ) -> Result<Family, ChangeError<E>> {
        let mut write = self.begin("change the key and its relatives", actor).await?;
        let outcome = write.change_family(region, id, change).await;
        self.end(write, actor, outcome).await
    }

    /// Stores the intent to make an object on the HSM; make the object after this answers.
    ///
    /// # Errors
    /// `Conflict` if the CKA_ID was meant before.
    pub async fn intend(&self, asker: Asker, intent: &Intent) -> Result<(), StoreError> {
        const WHAT: &str = "store the intent";
        let mut write = self.0.driver.write(WHAT, asker).await?;
        sqlx::query(
            "INSERT INTO intents (cka_id, region, key_id, spec, made, key_store) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(STANDARD.encode(intent.cka_id))
        .bind(&intent.region)
        .bind(intent.key.to_string())
        .bind(intent.spec.as_str())
        .bind(bigint(intent.made))
        .bind(intent.key_store.as_ref().map(KeyStoreId::as_str))
        .execute(write.connection())
        .await
        .map_err(StoreError::sql(WHAT))?;
        write.commit().await
    }

    /// Forgets an intent: its object was not made, or is destroyed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn forget_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        const WHAT: &str = "forget the intent";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        sqlx::query("DELETE FROM intents WHERE cka_id = $1")
            .bind(STANDARD.encode(intent.cka_id))
            .execute(write.connection())
            .await
            .map_err(StoreError::sql(WHAT))?;
        write.commit().await
    }

    /// Intents older than `time`, oldest first, at most a thousand.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn intents_before(&self, time: Running) -> Result<Vec<Intent>, StoreError> {
        const WHAT: &str = "list the intents";
        let mut connection = self.0.driver.reader(WHAT).await?;
        let text = "SELECT cka_id, region, key_id, spec, made, key_store FROM intents WHERE made < $1 \
                    ORDER BY made, cka_id LIMIT $2";
        let rows = sqlx::query(text)
            .bind(bigint(time))
            .bind(INTENTS)
            .fetch_all(&mut *connection)
            .await
            .map_err(StoreError::sql(WHAT))?;
        connection.give_back();
        rows.iter().map(Intent::from_row).collect::<Result<_, _>>().map_err(StoreError::sql(WHAT))
    }
}

/// A key as it is stored, among its relatives.
pub(super) struct StoredKey {
    pub(super) key: Key,
    pub(super) revision: i64,
}

pub(super) type StoredFamily = BTreeMap<String, StoredKey>;

impl Write {
    /// The key and its relatives; `None` if it is not there.
    pub(super) async fn family(&mut self, region: &str, id: KeyId) -> Result<Option<StoredFamily>, StoreError> {
        let Some(own) = self.relative(region, id).await? else { return Ok(None) };
        let others: Vec<String> =
            own.key.multi_region().into_iter().flat_map(|family| family.regions()).cloned().collect();
        let mut family = StoredFamily::from([(region.to_owned(), own)]);
        for other in others.into_iter().filter(|other| other != region) {
            if let Some(relative) = self.relative(&other, id).await? {
                family.insert(other, relative);
            }
        }
        Ok(Some(family))
    }

    async fn relative(&mut self, region: &str, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let found = self.document(&key_name(region, id)).await?;
        Ok(found.map(|(key, revision)| StoredKey { key, revision }))
    }

    async fn insert_key(&mut self, key: &Key) -> Result<WriteOutcome<()>, StoreError> {
        let has_home = match key.parent() {
            Some(key_store) => self.has(CustomKeyStore::KIND, &key_store).await?,
            None => true,
        };
        match has_home && self.insert(key).await? {
            true => Ok(WriteOutcome::Changed(())),
            false => Err(StoreError::new(INSERT, StoreErrorKind::Conflict)),
        }
    }

    async fn change_family<E>(
        &mut self,
        region: &str,
        id: KeyId,
        change: impl FnOnce(&mut Key, &mut Family) -> Result<(), E>,
    ) -> Result<WriteOutcome<Family>, ChangeError<E>> {
        let old = self.family(region, id).await?.ok_or(ChangeError::NotFound)?;
        let mut new: Family = old.iter().map(|(region, one)| (region.clone(), one.key.clone())).collect();
        let mut own = new.remove(region).ok_or(ChangeError::NotFound)?;
        change(&mut own, &mut new).map_err(ChangeError::Refused)?;
        new.insert(region.to_owned(), own);
        match self.replace_family(&old, &new).await? {
            true => Ok(WriteOutcome::Changed(new)),
            false => Ok(WriteOutcome::Same(new)),
        }
    }

    /// Writes what is different or new; whether anything was.
    async fn replace_family(&mut self, old: &StoredFamily, new: &Family) -> Result<bool, StoreError> {
        let mut has_changed = false;
        for (region, key) in new {
            match old.get(region) {
                Some(before) if before.key == *key => continue,
                Some(before) => self.replace(key, before.revision).await?,
                None => drop(self.insert(key).await?),
            }
            has_changed = true;
        }
        Ok(has_changed)
    }
}

impl Intent {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (cka_id, key): (String, String) = (row.try_get("cka_id")?, row.try_get("key_id")?);
        let spec = KeySpec::from_name(row.try_get("spec")?);
        let cka_id = STANDARD.decode(cka_id).ok().and_then(|bytes| bytes.try_into().ok());
        let (Some(cka_id), Some(key), Some(spec)) = (cka_id, KeyId::parse(&key), spec) else {
            return Err(sqlx::Error::Decode("an intent without a key id, a key spec and 16 bytes of CKA_ID".into()));
        };
        let made = u64::try_from(row.try_get::<i64, _>("made")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let region = row.try_get("region")?;
        let made = Running::from_ms(made);
        let key_store = row.try_get::<Option<String>, _>("key_store")?.map(KeyStoreId::from_stored);
        Ok(Self { region, key, spec, cka_id, key_store, made })
    }
}
