//! Access keys: the credentials that requests are signed with, and the last day on which each signed one.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    Actor, ChangeError, PrincipalRecord, Store, StoreError, WriteOutcome, document::StoredDocument, driver::Write,
};
use crate::{clock::Timestamp, identity::Asker, key::bytes, principal::Principal};

/// An access key, as it is stored. Its secret is sealed under the service material, which only the HSM can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// True if it may sign.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// IV and ciphertext of the secret.
    #[serde(with = "bytes")]
    pub sealed_secret: Vec<u8>,
}

impl StoredDocument for AccessKey {
    const KIND: &'static str = "access_key";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn parent(&self) -> Option<String> {
        Some(self.principal.arn().to_owned())
    }
}

/// Why an access key was not stored: there is one of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessKeyTaken;

impl Store {
    /// Adds an access key.
    ///
    /// # Errors
    /// If there is one of that id, or its principal is not there, or the store fails.
    pub async fn insert_access_key(
        &self,
        actor: &impl Actor,
        access_key: &AccessKey,
    ) -> Result<(), ChangeError<AccessKeyTaken>> {
        let mut write = self.begin("store the access key", actor).await?;
        let outcome = write.insert_access_key(access_key).await;
        self.end(write, actor, outcome).await
    }

    /// Stops an access key from signing, for good; `false` if there is no such access key.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn disable_access_key(&self, actor: &impl Actor, id: &str) -> Result<bool, StoreError> {
        self.change_if_there("disable the access key", actor, id, |key: &mut AccessKey| key.enabled = false).await
    }

    /// Deletes an access key; `false` if there is none of that id.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete_access_key(&self, actor: &impl Actor, id: &str) -> Result<bool, StoreError> {
        let mut write = self.begin("delete the access key", actor).await?;
        match write.delete(AccessKey::KIND, id).await? {
            true => {
                write.forget_day(id).await?;
                self.commit(write, actor).await.map(|()| true)
            }
            false => write.roll_back().await.map(|()| false),
        }
    }

    /// Stores the days (YYYYMMDD) on which access keys have signed, in one transaction: of each that is there, unless a later
    /// day is stored already.
    ///
    /// # Errors
    /// If the store fails; none is stored then.
    pub async fn store_access_key_days(&self, days: &HashMap<String, String>) -> Result<(), StoreError> {
        const WHAT: &str = "store the last uses of access keys";
        let text = "INSERT INTO access_key_days (id, used) \
                    SELECT $1, $2 WHERE EXISTS (SELECT 1 FROM documents WHERE kind = $3 AND id = $1) \
                    ON CONFLICT (id) DO UPDATE SET used = excluded.used WHERE excluded.used > access_key_days.used";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        for (id, day) in days {
            let query = sqlx::query(text).bind(id).bind(day).bind(AccessKey::KIND);
            query.execute(write.connection()).await.map_err(StoreError::sql(WHAT))?;
        }
        write.commit().await
    }

    /// The last day (YYYYMMDD) on which each access key signed, as far as it is stored.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn access_key_days(&self) -> Result<HashMap<String, String>, StoreError> {
        const WHAT: &str = "read the last uses of access keys";
        let mut connection = self.0.driver.reader(WHAT).await?;
        let query = sqlx::query_as("SELECT id, used FROM access_key_days");
        let days: Vec<(String, String)> = query.fetch_all(&mut *connection).await.map_err(StoreError::sql(WHAT))?;
        connection.give_back();
        Ok(days.into_iter().collect())
    }
}

impl Write {
    async fn insert_access_key(
        &mut self,
        access_key: &AccessKey,
    ) -> Result<WriteOutcome<()>, ChangeError<AccessKeyTaken>> {
        if !self.has(PrincipalRecord::KIND, access_key.principal.arn()).await? {
            return Err(ChangeError::NotFound);
        }
        match self.insert(access_key).await? {
            true => Ok(WriteOutcome::Changed(())),
            false => Err(ChangeError::Refused(AccessKeyTaken)),
        }
    }

    async fn forget_day(&mut self, id: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM access_key_days WHERE id = $1").bind(id);
        let done = query.execute(self.connection()).await;
        done.map(drop).map_err(StoreError::sql("forget the last use of the access key"))
    }
}
