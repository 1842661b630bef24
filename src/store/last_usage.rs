//! The last use of each key. No document: it changes often, nobody follows it, and the last one wins.

use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Store, StoreError, document::StoredDocument, driver::Write, keys::key_name};
use crate::{
    clock::Timestamp,
    identity::Asker,
    key::{
        Key,
        reference::KeyId,
        usage::{Use, UsingOperation},
    },
};

impl Store {
    /// Stores uses of keys, in one transaction: of each that is there, unless a later use is stored already.
    ///
    /// # Errors
    /// If the store fails; none is stored then.
    pub async fn store_uses(&self, uses: &[((String, KeyId), Use)], now: Timestamp) -> Result<(), StoreError> {
        const WHAT: &str = "store the uses of keys";
        let text = "INSERT INTO last_usage (region, key_id, operation, used, event_id, request_id) \
                    SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT 1 FROM documents WHERE kind = $7 AND id = $8) \
                    ON CONFLICT (region, key_id) DO UPDATE SET operation = excluded.operation, used = excluded.used, \
                    event_id = excluded.event_id, request_id = excluded.request_id \
                    WHERE excluded.used >= last_usage.used OR last_usage.used > $9";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        for ((region, id), one) in uses {
            sqlx::query(text)
                .bind(region)
                .bind(id.to_string())
                .bind(one.operation.as_str())
                .bind(one.time.ms())
                .bind(one.event_id.to_string())
                .bind(one.request_id.to_string())
                .bind(Key::KIND)
                .bind(key_name(region, *id))
                .bind(now.ms())
                .execute(write.connection())
                .await
                .map_err(StoreError::sql(WHAT))?;
        }
        write.commit().await
    }

    /// The last use of a key that is stored.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn last_use(&self, region: &str, id: KeyId) -> Result<Option<Use>, StoreError> {
        const WHAT: &str = "read the last use of the key";
        let mut connection = self.0.driver.reader(WHAT).await?;
        let text = "SELECT operation, used, event_id, request_id FROM last_usage WHERE region = $1 AND key_id = $2";
        let query = sqlx::query(text).bind(region).bind(id.to_string());
        let row = query.fetch_optional(&mut *connection).await.map_err(StoreError::sql(WHAT))?;
        connection.give_back();
        row.map(|row| from_row(&row)).transpose().map_err(StoreError::sql(WHAT))
    }
}

impl Write {
    /// Forgets the last use of a key that is deleted.
    pub(super) async fn forget_uses(&mut self, region: &str, id: KeyId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM last_usage WHERE region = $1 AND key_id = $2");
        let done = query.bind(region).bind(id.to_string()).execute(self.connection()).await;
        done.map(drop).map_err(StoreError::sql("forget the last use of the key"))
    }
}

fn from_row(row: &SqliteRow) -> Result<Use, sqlx::Error> {
    let operation = UsingOperation::from_name(row.try_get("operation")?);
    let id = |name| row.try_get(name).map(|text| Uuid::try_parse(text).ok());
    let (Some(operation), Some(event_id), Some(request_id)) = (operation, id("event_id")?, id("request_id")?) else {
        return Err(sqlx::Error::Decode("a use without an operation and two ids".into()));
    };
    Ok(Use { operation, time: Timestamp::from_ms(row.try_get("used")?), event_id, request_id })
}
