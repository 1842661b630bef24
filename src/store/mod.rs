//! The store: everything that the KMS remembers, and the questions it asks.
//!
//! Everything is a small document with a revision. Each change is noted in a feed in the same transaction, and everybody,
//! the writer too, brings the in-memory [`View`] up to date by reading that feed. So there is one mechanism for the
//! server's own changes, those of the command line and those of another node, and whoever reads the view pays for no
//! database.
//!
//! A change is decided where it is made: nobody else can write while its transaction is open, and before anything is asked in
//! it the view has followed the feed, so what the view shows is what is stored. Whoever changes something is an [`Actor`]:
//! the store takes turns between them, and stores with each change what is to be written down of it.
//!
//! A function that answers `Ok` has made its change durable and visible in the view of this process.

mod access_keys;
mod aliases;
mod deployment;
mod document;
mod driver;
mod error;
mod feed;
mod grant_index;
mod grants;
mod heartbeat;
mod invocations;
mod key_stores;
mod keys;
mod last_usage;
mod principals;
mod records;
mod shared;
mod snapshot;
mod tombstones;
mod update;
mod view;
mod write_queue;

#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use access_keys::{AccessKey, AccessKeyTaken};
pub use aliases::{AliasInsert, AliasMove, AliasName};
pub use deployment::{Deployment, account_in, deployment_in};
pub use error::{ChangeError, StoreError, StoreErrorKind};
pub use grants::GrantInsert;
pub use key_stores::KeyStoreSurroundings;
pub use keys::Intent;
pub use principals::{HasAccessKeys, NoSuchPolicy, PrincipalRecord};
pub use records::{NewRecord, StoredRecord};
pub use view::{PrincipalEntry, View};

use sqlx::SqliteConnection;

use crate::identity::Asker;
use document::StoredDocument;
use driver::{Driver, Write};
use shared::Shared;

/// Whoever changes something.
pub trait Actor: Sync {
    /// Whose turn a change takes.
    fn asker(&self) -> Asker;

    /// The audit record of a change, stored in its transaction once all is decided; nothing for what leaves no record.
    ///
    /// # Errors
    /// If it cannot be written as JSON. Nothing is changed then.
    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error>;
}

/// The service itself, where nothing is written down.
pub struct Unrecorded;

impl Actor for Unrecorded {
    fn asker(&self) -> Asker {
        Asker::SERVICE
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        Ok(None)
    }
}

/// The outcome of a transaction.
enum WriteOutcome<T> {
    /// The change is made.
    Changed(T),
    /// Nothing is changed, and this is why.
    Same(T),
}

/// The store; a clone is another hold on the same one.
#[derive(Clone)]
pub struct Store(Arc<OpenStore>);

struct OpenStore {
    driver: Driver,
    view: View,
    shared: Arc<Shared>,
    /// The last change that the view has seen; none before it has seen all that is stored. Held while the feed is read, so the
    /// view never goes back.
    seen: tokio::sync::Mutex<Option<i64>>,
    opened: Instant,
    /// When the view was last proven up to date, in milliseconds after `opened`.
    proven_ms: AtomicU64,
}

impl Store {
    /// Opens the database at `path`, makes it if there is none, and reads all of it into the view.
    ///
    /// # Errors
    /// If the file cannot be used, or its schema is of a later version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self(Arc::new(OpenStore {
            driver: Driver::open(path).await?,
            view: View::default(),
            shared: Arc::default(),
            seen: tokio::sync::Mutex::new(None),
            opened: Instant::now(),
            proven_ms: AtomicU64::new(0),
        }));
        store.follow().await?;
        Ok(store)
    }

    /// The view of what is stored, as of the last time the feed was read.
    pub fn view(&self) -> &View {
        &self.0.view
    }

    /// Reads the feed once and brings the view up to date; answers how many documents had changed.
    ///
    /// # Errors
    /// If the database cannot be read. The view is then as it was, and its [`Self::freshness`] grows.
    pub async fn follow(&self) -> Result<usize, StoreError> {
        let mut seen = self.0.seen.lock().await;
        let asked = Instant::now();
        let mut connection = self.0.driver.follower("read the change feed").await?;
        let mut changed = 0;
        loop {
            changed += match *seen {
                Some(_) => 0,
                None => self.read_all(&mut connection, &mut seen).await?,
            };
            let from = *seen;
            changed += self.read_feed(&mut connection, &mut seen).await?;
            if from >= Some(feed::pruned(&mut connection).await?) {
                break;
            }
            // What was deleted since then is not in the feed any more.
            *seen = None;
        }
        connection.give_back();
        self.proven_at(asked);
        Ok(changed)
    }

    /// Reads all of the database into the view, in the place of what is there.
    async fn read_all(&self, connection: &mut SqliteConnection, seen: &mut Option<i64>) -> Result<usize, StoreError> {
        let snapshot = snapshot::read(connection, &self.0.shared).await?;
        self.0.view.replace(snapshot.contents);
        *seen = Some(snapshot.seen);
        Ok(snapshot.count)
    }

    /// Reads the feed to its end, and takes in what has changed.
    async fn read_feed(&self, connection: &mut SqliteConnection, seen: &mut Option<i64>) -> Result<usize, StoreError> {
        let mut changed = 0;
        loop {
            let page = feed::read(connection, seen.unwrap_or_default()).await?;
            let count = page.len();
            *seen = page.last().map(|change| change.seq).or(*seen);
            self.0.view.apply(page.iter().filter_map(|change| change.row().update(&self.0.shared)).collect());
            changed += count;
            if count < feed::PAGE {
                return Ok(changed);
            }
        }
    }

    /// Has nothing left of what was deleted or replaced: the database overwrites it, and the write-ahead log, where it may still
    /// be, is written back and cut.
    ///
    /// # Errors
    /// If the store fails. Whoever reads just then keeps the log from being cut, which is no error; the next time will do.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        const WHAT: &str = "cut the write-ahead log";
        let (_turn, mut writer) = self.0.driver.writer(WHAT, Asker::SERVICE).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await.map_err(StoreError::sql(WHAT))?;
        writer.give_back();
        Ok(())
    }

    /// How many changes are being made or wait for their turn.
    pub fn writers(&self) -> usize {
        self.0.driver.writers()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.driver.path()
    }

    /// How long its files are, in bytes.
    pub fn size(&self) -> u64 {
        self.0.driver.size()
    }

    /// How long ago the view was last proven up to date.
    pub fn freshness(&self) -> Duration {
        let proven = Duration::from_millis(self.0.proven_ms.load(Ordering::Acquire));
        self.0.opened.elapsed().saturating_sub(proven)
    }

    /// The proof is as old as the question, not as the answer.
    fn proven_at(&self, asked: Instant) {
        let ms = asked.saturating_duration_since(self.0.opened).as_millis();
        self.0.proven_ms.fetch_max(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Begins a change: until it ends nobody else writes, and the view shows all that is stored.
    async fn begin(&self, what: &'static str, actor: &impl Actor) -> Result<Write, StoreError> {
        let write = self.0.driver.write(what, actor.asker()).await?;
        self.follow().await?;
        Ok(write)
    }

    /// Ends a change: with its record if it was made, and as if it had never begun if not.
    async fn end<T, E>(
        &self,
        write: Write,
        actor: &impl Actor,
        outcome: Result<WriteOutcome<T>, ChangeError<E>>,
    ) -> Result<T, ChangeError<E>> {
        match outcome {
            Ok(WriteOutcome::Changed(answer)) => {
                self.commit(write, actor).await?;
                Ok(answer)
            }
            Ok(WriteOutcome::Same(answer)) => {
                write.roll_back().await?;
                Ok(answer)
            }
            // Its connection is closed.
            Err(ChangeError::Store(error)) => Err(ChangeError::Store(error)),
            Err(refused) => {
                write.roll_back().await?;
                Err(refused)
            }
        }
    }

    /// Commits a change with its record and shows it in the view. A commit that fails may have been one all the same; where
    /// the record is stored, so is the change.
    async fn commit(&self, mut write: Write, actor: &impl Actor) -> Result<(), StoreError> {
        let recorded = write.record(actor).await?;
        match (write.commit().await, recorded) {
            (Ok(()), _) => {}
            (Err(error), None) => return Err(error),
            (Err(error), Some(event_id)) => match self.has_record(event_id).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(error),
            },
        }
        self.show_own_change().await;
        Ok(())
    }

    /// The change is durable already, so a feed that cannot be read is no failure of the change. The view gets older
    /// meanwhile, and the service stops answering from it when it is too old.
    async fn show_own_change(&self) {
        if let Err(error) = self.follow().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the change feed cannot be read");
        }
    }

    /// Adds one document that nobody asks anything about; `false` if there is one of its name already.
    async fn insert<D: StoredDocument>(
        &self,
        what: &'static str,
        actor: &impl Actor,
        document: &D,
    ) -> Result<bool, StoreError> {
        let mut write = self.begin(what, actor).await?;
        match write.insert(document).await? {
            true => self.commit(write, actor).await.map(|()| true),
            false => write.roll_back().await.map(|()| false),
        }
    }

    /// Deletes a document, if `judge` lets it; `false` if there is none.
    async fn delete<D: StoredDocument, E>(
        &self,
        what: &'static str,
        actor: &impl Actor,
        id: &str,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, ChangeError<E>> {
        let mut write = self.begin(what, actor).await?;
        let outcome = match judge() {
            Ok(()) => write.delete(D::KIND, id).await.map_err(ChangeError::Store),
            Err(refused) => Err(ChangeError::Refused(refused)),
        };
        let outcome =
            outcome.map(|deleted| if deleted { WriteOutcome::Changed(true) } else { WriteOutcome::Same(false) });
        self.end(write, actor, outcome).await
    }

    /// Reads a document, applies `change` and writes it back.
    async fn change<D, E>(
        &self,
        what: &'static str,
        actor: &impl Actor,
        id: &str,
        change: impl FnOnce(&mut D) -> Result<(), E>,
    ) -> Result<D, ChangeError<E>>
    where
        D: StoredDocument + Clone + PartialEq,
    {
        let mut write = self.begin(what, actor).await?;
        let changed = write.change(id, change).await;
        self.end(write, actor, changed).await
    }
}

impl Write {
    async fn change<D, E>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut D) -> Result<(), E>,
    ) -> Result<WriteOutcome<D>, ChangeError<E>>
    where
        D: StoredDocument + Clone + PartialEq,
    {
        let (old, revision) = self.document::<D>(id).await?.ok_or(ChangeError::NotFound)?;
        let mut new = old.clone();
        change(&mut new).map_err(ChangeError::Refused)?;
        if new == old {
            return Ok(WriteOutcome::Same(old));
        }
        self.replace(&new, revision).await?;
        Ok(WriteOutcome::Changed(new))
    }
}
