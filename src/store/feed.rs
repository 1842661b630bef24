//! The change feed: which documents have changed since a number, and what they are now.
//!
//! It has a row for each document, and for each that was deleted as long as somebody may follow it who has not seen that: for
//! [`KEPT`] of running time. Who has followed nothing for longer reads everything anew.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{Store, error::StoreError, heartbeat::bigint, update::Row};
use crate::{clock::Running, identity::Asker};

const WHAT: &str = "read the change feed";

/// How long the feed knows of what was deleted.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// How many changes are read at once.
pub(super) const PAGE: usize = 1000;

/// One document that has changed, as it is now; without a body if it is gone.
pub(super) struct Change {
    pub(super) seq: i64,
    kind: String,
    id: String,
    body: Option<String>,
}

/// The next changes after `seen`, oldest first; fewer than [`PAGE`] when there are no more. One statement sees one state of the
/// database, so a document and its number belong together.
pub(super) async fn read(connection: &mut SqliteConnection, seen: i64) -> Result<Vec<Change>, StoreError> {
    let text = "SELECT c.seq AS seq, c.kind AS kind, c.id AS id, d.body AS body FROM changes c \
                LEFT JOIN documents d ON d.kind = c.kind AND d.id = c.id WHERE c.seq > $1 ORDER BY c.seq LIMIT $2";
    let rows =
        sqlx::query(text).bind(seen).bind(PAGE as i64).fetch_all(connection).await.map_err(StoreError::sql(WHAT))?;
    rows.iter().map(Change::from_row).collect::<Result<_, _>>().map_err(StoreError::sql(WHAT))
}

/// The number of the last change.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar("SELECT last FROM feed WHERE id = 1");
    query.fetch_one(connection).await.map_err(StoreError::sql(WHAT))
}

/// The number up to which the feed has forgotten what was deleted.
pub(super) async fn pruned(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar("SELECT pruned FROM feed WHERE id = 1");
    query.fetch_one(connection).await.map_err(StoreError::sql(WHAT))
}

impl Store {
    /// Has the feed forget what was deleted long ago; `now` is running time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn prune_feed(&self, now: Running) -> Result<(), StoreError> {
        const WHAT: &str = "prune the change feed";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        let before = pruned(write.connection()).await?;
        // How far the feed was at that time, as the last round before it has noted.
        let statements = [
            "INSERT INTO feed_marks (made, seq) SELECT $1, last FROM feed WHERE id = 1 ON CONFLICT (made) DO NOTHING",
            "UPDATE feed SET pruned = (SELECT COALESCE(MAX(seq), 0) FROM feed_marks WHERE made <= $1) WHERE id = 1",
            "DELETE FROM feed_marks WHERE made < (SELECT COALESCE(MAX(made), 0) FROM feed_marks WHERE made <= $1)",
        ];
        let then = bigint(now.minus(KEPT));
        for (statement, time) in statements.into_iter().zip([bigint(now), then, then]) {
            let done = sqlx::query(statement).bind(time).execute(write.connection()).await;
            done.map_err(StoreError::sql(WHAT))?;
        }
        let forget = "DELETE FROM changes WHERE seq > $1 AND seq <= (SELECT pruned FROM feed WHERE id = 1) AND NOT EXISTS \
                      (SELECT 1 FROM documents d WHERE d.kind = changes.kind AND d.id = changes.id)";
        sqlx::query(forget).bind(before).execute(write.connection()).await.map_err(StoreError::sql(WHAT))?;
        write.commit().await
    }
}

impl Change {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (seq, kind, id, body) =
            (row.try_get("seq")?, row.try_get("kind")?, row.try_get("id")?, row.try_get("body")?);
        Ok(Self { seq, kind, id, body })
    }

    /// The document.
    pub(super) fn row(&self) -> Row<'_> {
        Row { kind: &self.kind, id: &self.id, body: self.body.as_deref() }
    }
}
