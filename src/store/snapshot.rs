//! All that is stored, read at once: at the start, and when the feed has forgotten what was deleted meanwhile.
//!
//! A row is a page of documents, all bodies in one text: to have a row from SQLite's thread takes longer than to decode a document.
//! Pages are decoded on other threads while SQLite makes the next ones.

use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinSet;

use super::{
    error::{StoreError, StoreErrorKind},
    feed,
    shared::Shared,
    update::{Row, Update},
    view::Contents,
};

const WHAT: &str = "read all that is stored";

/// How many documents are in a page.
const PAGE: i64 = 500;

/// How many pages wait to be decoded before the next one is read.
const AHEAD: usize = 4;

/// Some documents, in the order in which they are stored.
struct Page {
    /// The row id of the last one.
    last: i64,
    /// Of each its kind, its id and the length of its body, as JSON.
    names: String,
    bodies: String,
}

/// What the view shows of all documents, as of one moment.
pub(super) struct Snapshot {
    pub(super) contents: Contents,
    /// How many documents that is.
    pub(super) count: usize,
    /// The last change that it has.
    pub(super) seen: i64,
}

/// Reads all documents.
pub(super) async fn read(connection: &mut SqliteConnection, shared: &Arc<Shared>) -> Result<Snapshot, StoreError> {
    let mut transaction = connection.begin().await.map_err(StoreError::sql(WHAT))?;
    let seen = feed::last(&mut transaction).await?;
    let mut snapshot = Snapshot { contents: Contents::default(), count: 0, seen };
    let (mut decoding, mut last) = (JoinSet::new(), 0);
    while let Some(page) = page_after(&mut transaction, last).await? {
        last = page.last;
        let shared = Arc::clone(shared);
        decoding.spawn_blocking(move || page.updates(&shared));
        if decoding.len() > AHEAD {
            snapshot.take_in(decoded(&mut decoding).await?);
        }
    }
    while !decoding.is_empty() {
        snapshot.take_in(decoded(&mut decoding).await?);
    }
    transaction.rollback().await.map_err(StoreError::sql(WHAT))?;
    Ok(snapshot)
}

impl Snapshot {
    fn take_in(&mut self, updates: Vec<Update>) {
        self.count += updates.len();
        updates.into_iter().for_each(|update| self.contents.apply(update));
    }
}

/// The updates of a page that has been decoded.
async fn decoded(decoding: &mut JoinSet<Result<Vec<Update>, StoreError>>) -> Result<Vec<Update>, StoreError> {
    match decoding.join_next().await {
        Some(Ok(updates)) => updates,
        Some(Err(failed)) => Err(corrupt(failed)),
        None => Ok(Vec::new()),
    }
}

/// The page after the document of this row id; none if there are no more.
async fn page_after(connection: &mut SqliteConnection, last: i64) -> Result<Option<Page>, StoreError> {
    let text = "SELECT MAX(rowid), json_group_array(json_array(kind, id, octet_length(body))), group_concat(body, '') \
                FROM (SELECT rowid, kind, id, body FROM documents WHERE rowid > $1 ORDER BY rowid LIMIT $2) \
                HAVING COUNT(*) > 0";
    let query = sqlx::query_as(text).bind(last).bind(PAGE);
    let row = query.fetch_optional(connection).await.map_err(StoreError::sql(WHAT))?;
    Ok(row.map(|(last, names, bodies)| Page { last, names, bodies }))
}

impl Page {
    fn updates(self, shared: &Shared) -> Result<Vec<Update>, StoreError> {
        let names: Vec<(String, String, usize)> = serde_json::from_str(&self.names).map_err(corrupt)?;
        let (mut updates, mut bodies) = (Vec::with_capacity(names.len()), self.bodies.as_str());
        for (kind, id, length) in &names {
            let (body, rest) =
                bodies.split_at_checked(*length).ok_or_else(|| corrupt("a body ends before its length"))?;
            updates.extend(Row { kind, id, body: Some(body) }.update(shared));
            bodies = rest;
        }
        Ok(updates)
    }
}

fn corrupt(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::because(WHAT, StoreErrorKind::Corrupt, why)
}
