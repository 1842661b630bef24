//! The database: files, connections, transactions, schema.
//!
//! One connection writes and waits its turn in the process; a few others read. Every write is one transaction that
//! begins `IMMEDIATE`, so that a second process waits at the door and not in the middle. A commit is on the disk
//! before it is acknowledged (`synchronous=FULL`), so a process that dies anywhere leaves either all of a change or nothing.
//!
//! A connection is used again only after something that ended in a known way ([`PooledConnection`]). Whatever else becomes of it (the disk is
//! full, the file cannot be written, nobody waits for it any more), it is closed, which rolls a transaction back, and
//! the next one opens another: nobody has to understand what a fault has left behind.
//!
//! The texts use `$1` and `ON CONFLICT`, which SQLite and PostgreSQL both take.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    ops::{Deref, DerefMut},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Row, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use super::{
    document::StoredDocument,
    error::{StoreError, StoreErrorKind},
    write_queue::{WriteQueue, WriteTurn},
};
use crate::identity::Asker;

/// How long a writer waits for another process, and a question for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const READERS: u32 = 3;
/// How long a change waits for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// A connection that is used again only if it is given back, after something that ended in a known way; else it is closed.
pub(super) struct PooledConnection {
    connection: PoolConnection<Sqlite>,
    is_well: bool,
}

impl PooledConnection {
    async fn from(pool: &SqlitePool, what: &'static str) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(StoreError::sql(what))?;
        Ok(Self { connection, is_well: false })
    }

    /// All that was done with it ended in a known way.
    pub(super) fn give_back(mut self) {
        self.is_well = true;
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if !self.is_well {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for PooledConnection {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Every schema there has been, as the step that leads to it from the one before; the version is the position.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
];

/// The connections to one database.
pub(super) struct Driver {
    path: PathBuf,
    /// The device and number of the file that is open.
    file: (u64, u64),
    writing: WriteQueue,
    writer: SqlitePool,
    readers: SqlitePool,
    /// Reads the feed, and waits for no other reader.
    follower: SqlitePool,
}

/// One change of the database: all of it or, if it is dropped without [`Write::commit`], nothing.
pub(super) struct Write {
    what: &'static str,
    connection: PooledConnection,
    /// Passes on after the connection has been given back.
    _turn: WriteTurn,
}

/// A document as it is stored, not yet read.
pub(super) struct StoredBody {
    pub(super) revision: i64,
    pub(super) body: String,
}

impl Driver {
    /// Opens the database, makes it if there is none, and brings its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(StoreError::io("open the database"))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        // What is deleted may be a wrapped key.
        let writer = pool(1, options.clone().pragma("secure_delete", "on")).await?;
        migrate(&writer).await?;
        let reading = options.pragma("query_only", "on");
        let readers = pool(READERS, reading.clone()).await?;
        let follower = pool(1, reading).await?;
        let file = place(path).map_err(StoreError::io("open the database"))?;
        // Under one name from whatever directory.
        let path = std::path::absolute(path).map_err(StoreError::io("open the database"))?;
        Ok(Self { path, file, writing: WriteQueue::default(), writer, readers, follower })
    }

    /// The path of the database's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long the database and its write-ahead log are, in bytes.
    pub(super) fn size(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut log = OsString::from(&self.path);
        log.push("-wal");
        length(&self.path) + length(Path::new(&log))
    }

    /// A connection that reads what is committed.
    pub(super) async fn reader(&self, what: &'static str) -> Result<PooledConnection, StoreError> {
        PooledConnection::from(&self.readers, what).await
    }

    /// The connection that reads the feed.
    pub(super) async fn follower(&self, what: &'static str) -> Result<PooledConnection, StoreError> {
        PooledConnection::from(&self.follower, what).await
    }

    /// The connection that writes, when it is the turn of `asker`. Whoever holds it is the only writer of this process.
    pub(super) async fn writer(
        &self,
        what: &'static str,
        asker: Asker,
    ) -> Result<(WriteTurn, PooledConnection), StoreError> {
        let turn = self.writing.turn(asker, WAIT).await.ok_or_else(|| StoreError::new(what, StoreErrorKind::Busy))?;
        // A file that has no name any more takes every change and keeps none.
        let moved =
            place(&self.path).map_or_else(|error| error.kind() == ErrorKind::NotFound, |file| file != self.file);
        if moved {
            return Err(StoreError::new(what, StoreErrorKind::Moved));
        }
        Ok((turn, PooledConnection::from(&self.writer, what).await?))
    }

    /// How many write or wait for it.
    pub(super) fn writers(&self) -> usize {
        self.writing.len()
    }

    /// Begins a change.
    pub(super) async fn write(&self, what: &'static str, asker: Asker) -> Result<Write, StoreError> {
        let (turn, connection) = self.writer(what, asker).await?;
        let mut write = Write { what, connection, _turn: turn };
        write.say("BEGIN IMMEDIATE").await?;
        Ok(write)
    }
}

impl Write {
    async fn say(&mut self, text: &'static str) -> Result<(), StoreError> {
        let said = sqlx::raw_sql(text).execute(&mut *self.connection).await;
        said.map(drop).map_err(StoreError::sql(self.what))
    }

    /// The connection, for the tables that hold no documents.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Adds a document; `false` if there is one of its name already.
    pub(super) async fn insert<D: StoredDocument>(&mut self, document: &D) -> Result<bool, StoreError> {
        let id = document.id();
        let body = document.body(self.what)?;
        let revision = self.note_change(D::KIND, &id).await?;
        let text = "INSERT INTO documents (kind, id, parent, revision, body) VALUES ($1, $2, $3, $4, $5) \
                    ON CONFLICT (kind, id) DO NOTHING";
        let query = sqlx::query(text).bind(D::KIND).bind(id).bind(document.parent()).bind(revision).bind(body);
        let inserted = self.rows(query).await? == 1;
        self.fulfil(document).await?;
        Ok(inserted)
    }

    /// A document as it is stored, with its revision.
    pub(super) async fn document<D: StoredDocument>(&mut self, id: &str) -> Result<Option<(D, i64)>, StoreError> {
        let stored = read(&mut self.connection, self.what, D::KIND, id).await?;
        stored.map(|stored| Ok((D::read(self.what, id, &stored.body)?, stored.revision))).transpose()
    }

    /// Puts a document in the place of `revision`.
    ///
    /// # Errors
    /// `Conflict` if that is no longer what is stored.
    pub(super) async fn replace<D: StoredDocument>(&mut self, document: &D, revision: i64) -> Result<(), StoreError> {
        let id = document.id();
        let body = document.body(self.what)?;
        let next = self.note_change(D::KIND, &id).await?;
        let text = "UPDATE documents SET parent = $3, revision = $4, body = $5 \
                    WHERE kind = $1 AND id = $2 AND revision = $6";
        let query = sqlx::query(text).bind(D::KIND).bind(id).bind(document.parent()).bind(next).bind(body);
        if self.rows(query.bind(revision)).await? != 1 {
            return Err(StoreError::new(self.what, StoreErrorKind::Conflict));
        }
        self.fulfil(document).await
    }

    /// Deletes a document; `false` if there is none.
    pub(super) async fn delete(&mut self, kind: &'static str, id: &str) -> Result<bool, StoreError> {
        self.note_change(kind, id).await?;
        let text = "DELETE FROM documents WHERE kind = $1 AND id = $2";
        self.rows(sqlx::query(text).bind(kind).bind(id)).await.map(|rows| rows == 1)
    }

    /// Deletes all documents of a kind that belong to `parent`, in a few statements however many there are.
    pub(super) async fn delete_children(&mut self, kind: &'static str, parent: &str) -> Result<(), StoreError> {
        let count = "SELECT COUNT(*) FROM documents WHERE kind = $1 AND parent = $2";
        let count: i64 = sqlx::query_scalar(count)
            .bind(kind)
            .bind(parent)
            .fetch_one(&mut *self.connection)
            .await
            .map_err(StoreError::sql(self.what))?;
        let last = self.next_seq(count).await?;
        let note = "INSERT INTO changes (kind, id, seq) \
                    SELECT kind, id, $3 + ROW_NUMBER() OVER (ORDER BY id) FROM documents WHERE kind = $1 AND parent = $2 \
                    ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq";
        self.rows(sqlx::query(note).bind(kind).bind(parent).bind(last - count)).await?;
        let delete = "DELETE FROM documents WHERE kind = $1 AND parent = $2";
        self.rows(sqlx::query(delete).bind(kind).bind(parent)).await?;
        Ok(())
    }

    /// True if there is such a document.
    pub(super) async fn has(&mut self, kind: &'static str, id: &str) -> Result<bool, StoreError> {
        let found = read(&mut self.connection, self.what, kind, id).await?;
        Ok(found.is_some())
    }

    /// The names of the documents of a kind that belong to `parent`.
    pub(super) async fn children(&mut self, kind: &'static str, parent: &str) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT id FROM documents WHERE kind = $1 AND parent = $2 ORDER BY id")
            .bind(kind)
            .bind(parent)
            .fetch_all(&mut *self.connection)
            .await
            .map_err(StoreError::sql(self.what))
    }

    /// Every document of a kind, by name.
    pub(super) async fn all<D: StoredDocument>(&mut self) -> Result<Vec<D>, StoreError> {
        let rows = sqlx::query("SELECT id, body FROM documents WHERE kind = $1 ORDER BY id").bind(D::KIND);
        let rows = rows.fetch_all(&mut *self.connection).await.map_err(StoreError::sql(self.what))?;
        let read = |row: &SqliteRow| {
            let columns = row.try_get("id").and_then(|id| Ok((id, row.try_get("body")?)));
            let (id, body): (String, String) = columns.map_err(StoreError::sql(self.what))?;
            D::read(self.what, &id, &body)
        };
        rows.iter().map(read).collect()
    }

    /// Makes the change durable.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.say("COMMIT").await?;
        self.connection.give_back();
        Ok(())
    }

    /// Leaves everything as it was.
    pub(super) async fn roll_back(mut self) -> Result<(), StoreError> {
        self.say("ROLLBACK").await?;
        self.connection.give_back();
        Ok(())
    }

    /// Writes the change into the feed and answers its number, which is also the document's revision: it grows over
    /// the whole database, so a document that is deleted and made again never shows an old revision.
    async fn note_change(&mut self, kind: &'static str, id: &str) -> Result<i64, StoreError> {
        let seq = self.next_seq(1).await?;
        let text = "INSERT INTO changes (kind, id, seq) VALUES ($1, $2, $3) \
                    ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq";
        self.rows(sqlx::query(text).bind(kind).bind(id).bind(seq)).await?;
        Ok(seq)
    }

    /// Takes the next `count` numbers and answers the last of them.
    ///
    /// A database sequence would not do: its numbers become visible out of order, and a reader would step over one. Whoever
    /// takes a number holds this row until the transaction ends.
    pub(super) async fn next_seq(&mut self, count: i64) -> Result<i64, StoreError> {
        sqlx::query_scalar("UPDATE feed SET last = last + $1 WHERE id = 1 RETURNING last")
            .bind(count)
            .fetch_one(&mut *self.connection)
            .await
            .map_err(StoreError::sql(self.what))
    }

    /// From here on the document itself says which objects of the HSM are in use.
    async fn fulfil<D: StoredDocument>(&mut self, document: &D) -> Result<(), StoreError> {
        for cka_id in document.fulfils() {
            self.rows(sqlx::query("DELETE FROM intents WHERE cka_id = $1").bind(cka_id)).await?;
        }
        Ok(())
    }

    async fn rows(
        &mut self,
        query: sqlx::query::Query<'_, Sqlite, <Sqlite as sqlx::Database>::Arguments>,
    ) -> Result<u64, StoreError> {
        let done = query.execute(&mut *self.connection).await.map_err(StoreError::sql(self.what))?;
        Ok(done.rows_affected())
    }
}

/// Reads one document.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    what: &'static str,
    kind: &'static str,
    id: &str,
) -> Result<Option<StoredBody>, StoreError> {
    let row = sqlx::query("SELECT revision, body FROM documents WHERE kind = $1 AND id = $2")
        .bind(kind)
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::sql(what))?;
    row.map(|row| Ok(StoredBody { revision: row.try_get("revision")?, body: row.try_get("body")? }))
        .transpose()
        .map_err(StoreError::sql(what))
}

async fn pool(size: u32, options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(2 * PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(StoreError::sql("open the database"))
}

/// Brings the schema up to date, in one transaction; refuses one that is newer than this program.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    const WHAT: &str = "prepare the database's schema";
    let failed = StoreError::sql(WHAT);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let table = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)";
    sqlx::query(table).execute(&mut *transaction).await.map_err(&failed)?;
    let version: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_version")
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
    let known = MIGRATIONS.len();
    let applied = usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        let found = format!("the database has schema version {version}; this program supports versions 1 to {known}");
        StoreError::because(WHAT, StoreErrorKind::Schema, found)
    })?;
    for step in &MIGRATIONS[applied..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(&failed)?;
    }
    if applied < known {
        sqlx::query("DELETE FROM schema_version").execute(&mut *transaction).await.map_err(&failed)?;
        let text = "INSERT INTO schema_version (version) VALUES ($1)";
        sqlx::query(text).bind(known as i64).execute(&mut *transaction).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}

fn place(path: &Path) -> Result<(u64, u64), std::io::Error> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Makes the directory and the file if need be. Only their owner may read them; SQLite gives its write-ahead log the
/// permissions of the database.
fn make_private(path: &Path) -> Result<(), std::io::Error> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}
