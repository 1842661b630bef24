//! Audit records of changes, from the transaction of the change until they are in the audit trail.
//!
//! A change and its record are one, since both are stored in one transaction. Whoever keeps the trail brings the record there
//! afterwards, in the order of the changes, and then has it forgotten here: see [`Kms::deliver_records`](crate::kms::Kms::deliver_records).

use sqlx::{FromRow, Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Actor, Store, StoreError, StoreErrorKind, driver::Write, heartbeat::bigint};
use crate::{clock::Running, identity::Asker};

/// How many records are read at once.
const PAGE: i64 = 500;
/// The length in bytes at which a write proves that the database can be written.
const PROOF_BYTES: i64 = 64 << 10;
const READ: &str = "read the audit records of changes";

/// The audit record of a change, about to be stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The record's own name, eventID.
    pub event_id: Uuid,
    /// The trail that it goes to, by the path of its file.
    pub trail: String,
    /// How far that trail is written: the record is nowhere before this place.
    pub position: String,
    /// When it was made, by running time.
    pub made: Running,
    /// The record: one line of JSON, with its newline.
    pub line: String,
}

/// The audit record of a change that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its number; a later change has a larger one.
    pub seq: i64,
    /// The record as it was stored.
    pub record: NewRecord,
}

impl Write {
    /// Stores what `actor` writes down of this change.
    pub(super) async fn record(&mut self, actor: &impl Actor) -> Result<Option<Uuid>, StoreError> {
        const WHAT: &str = "store the audit record of the change";
        let record = actor.record().map_err(|error| StoreError::because(WHAT, StoreErrorKind::Corrupt, error))?;
        let Some(record) = record else { return Ok(None) };
        let seq = self.next_seq(1).await?;
        let text = "INSERT INTO records (seq, event_id, trail, position, made, line) VALUES ($1, $2, $3, $4, $5, $6)";
        let query = sqlx::query(text)
            .bind(seq)
            .bind(record.event_id.to_string())
            .bind(record.trail)
            .bind(record.position)
            .bind(bigint(record.made))
            .bind(record.line);
        query.execute(self.connection()).await.map_err(StoreError::sql(WHAT))?;
        Ok(Some(record.event_id))
    }
}

impl Store {
    /// Stores what `actor` writes down of something that is no change of the store.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn write_down(&self, actor: &impl Actor) -> Result<(), StoreError> {
        let write = self.begin("store an audit record", actor).await?;
        self.commit(write, actor).await
    }

    /// The first records after number `after` that go to `trail`, in the order of their changes.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn records_after(&self, trail: &str, after: i64) -> Result<Vec<StoredRecord>, StoreError> {
        let text = "SELECT seq, event_id, trail, position, made, line FROM records \
                    WHERE trail = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let query = sqlx::query_as(text).bind(trail).bind(after).bind(PAGE);
        let mut connection = self.0.driver.reader(READ).await?;
        let records = query.fetch_all(&mut *connection).await.map_err(StoreError::sql(READ))?;
        connection.give_back();
        Ok(records)
    }

    /// The first records of other trails than `trail` that were made before `time`: whoever was to bring them there is gone.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn abandoned_records(&self, trail: &str, time: Running) -> Result<Vec<StoredRecord>, StoreError> {
        let text = "SELECT seq, event_id, trail, position, made, line FROM records \
                    WHERE trail <> $1 AND made < $2 ORDER BY seq LIMIT $3";
        let query = sqlx::query_as(text).bind(trail).bind(bigint(time)).bind(PAGE);
        let mut connection = self.0.driver.reader(READ).await?;
        let records = query.fetch_all(&mut *connection).await.map_err(StoreError::sql(READ))?;
        connection.give_back();
        Ok(records)
    }

    /// Forgets records that are in their trail.
    ///
    /// # Errors
    /// If the store fails; none is forgotten then.
    pub async fn forget_records(&self, seqs: &[i64]) -> Result<(), StoreError> {
        const WHAT: &str = "forget audit records that are in the trail";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        for seq in seqs {
            let query = sqlx::query("DELETE FROM records WHERE seq = $1").bind(seq);
            query.execute(write.connection()).await.map_err(StoreError::sql(WHAT))?;
        }
        write.commit().await
    }

    /// Sees that the database can be written, by a write that leaves nothing behind: of a record, and as long as those of most
    /// changes with all that they change, so that it finds no room where they find none.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn prove_writable(&self) -> Result<(), StoreError> {
        const WHAT: &str = "write to the database";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        let insert =
            "INSERT INTO records (seq, event_id, trail, position, made, line) VALUES (0, '', '', '', 0, zeroblob($1))";
        sqlx::query(insert).bind(PROOF_BYTES).execute(write.connection()).await.map_err(StoreError::sql(WHAT))?;
        let delete = sqlx::query("DELETE FROM records WHERE seq = 0");
        delete.execute(write.connection()).await.map_err(StoreError::sql(WHAT))?;
        write.commit().await
    }

    /// True if a record of that name is stored, and with it its change.
    pub(super) async fn has_record(&self, event_id: Uuid) -> Result<bool, StoreError> {
        let query = sqlx::query("SELECT 1 FROM records WHERE event_id = $1").bind(event_id.to_string());
        let mut connection = self.0.driver.reader(READ).await?;
        let found = query.fetch_optional(&mut *connection).await.map_err(StoreError::sql(READ))?;
        connection.give_back();
        Ok(found.is_some())
    }
}

impl FromRow<'_, SqliteRow> for StoredRecord {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let undecodable = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
        let event_id = Uuid::try_parse(row.try_get("event_id")?).map_err(|error| undecodable(error.into()))?;
        let made = u64::try_from(row.try_get::<i64, _>("made")?).map_err(|error| undecodable(error.into()))?;
        let trail = row.try_get("trail")?;
        let position = row.try_get("position")?;
        let line = row.try_get("line")?;
        let record = NewRecord { event_id, trail, position, made: Running::from_ms(made), line };
        Ok(Self { seq: row.try_get("seq")?, record })
    }
}
