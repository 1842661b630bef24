//! What the KMS remembers, and the questions it asks.
//!
//! Everything is a small document with a revision. A change reads the document, applies itself, and writes it back if
//! the revision is still the one it read; if not, it starts again. Each change is noted in a feed in the same
//! transaction, and everybody, the writer too, brings the in-memory [`View`] up to date by reading that feed. So there
//! is one mechanism for the server's own changes, those of the command line and those of another node, and whoever
//! reads the view pays for no database.
//!
//! A function that answers `Ok` has made its change durable and visible in the view of this process.

mod access_keys;
mod aliases;
mod deployment;
mod document;
mod driver;
mod error;
mod feed;
mod granted;
mod grants;
mod heartbeat;
mod invocations;
mod key_stores;
mod keys;
mod last_usage;
mod principals;
mod tombstones;
mod view;

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

pub use access_keys::AccessKey;
pub use aliases::{AliasInsert, AliasMove};
pub use deployment::Deployment;
pub use error::{ChangeError, Kind, StoreError};
pub use grants::GrantInsert;
pub use key_stores::Around;
pub use keys::{Family, Intent};
pub use principals::PrincipalRecord;
pub use view::{PrincipalEntry, View};

use document::Document;
use driver::{Driver, Write};
use view::Policies;

/// How often a change starts again before it gives up. Only another process can get in its way.
const ATTEMPTS: usize = 16;

/// The store; a clone is another hold on the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    driver: Driver,
    view: View,
    policies: Policies,
    /// The last change that the view has seen. Held while the feed is read, so the view never goes back.
    seen: tokio::sync::Mutex<i64>,
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
        let store = Self(Arc::new(Inner {
            driver: Driver::open(path).await?,
            view: View::default(),
            policies: Policies::default(),
            seen: tokio::sync::Mutex::new(0),
            opened: Instant::now(),
            proven_ms: AtomicU64::new(0),
        }));
        store.follow().await?;
        Ok(store)
    }

    /// What is stored, as of the last time the feed was read.
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
        let mut connection = self.0.driver.reader("read the change feed").await?;
        let mut changed = 0;
        loop {
            let page = feed::read(&mut connection, *seen).await?;
            let count = page.len();
            *seen = page.last().map_or(*seen, |change| change.seq);
            let policies = &self.0.policies;
            self.0.view.apply(page.into_iter().filter_map(|change| change.decode(policies)).collect());
            changed += count;
            if count < feed::PAGE {
                break;
            }
        }
        self.proven_at(asked);
        Ok(changed)
    }

    /// Has nothing left of what was deleted or replaced: the database overwrites it, and the write-ahead log, where it may still
    /// be, is written back and cut.
    ///
    /// # Errors
    /// If the store fails. Whoever reads just then keeps the log from being cut, which is no error; the next time will do.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        const WHAT: &str = "cut the write-ahead log";
        let mut writer = self.0.driver.writer(WHAT).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await.map_err(StoreError::sql(WHAT))?;
        Ok(())
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

    /// Commits a change and shows it in the view.
    async fn commit(&self, write: Write<'_>) -> Result<(), StoreError> {
        write.commit().await?;
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

    /// Adds one document; `false` if there is one of its name already.
    async fn insert<D: Document>(&self, what: &'static str, document: &D) -> Result<bool, StoreError> {
        let mut write = self.0.driver.write(what).await?;
        if !write.insert(document).await? {
            return Ok(false);
        }
        self.commit(write).await?;
        Ok(true)
    }

    /// Reads a document, applies `change` and writes it back, starting again if somebody else was faster.
    ///
    /// Holding the writer's connection all the while keeps the changes of this process out of each other's way.
    async fn change<D, E>(
        &self,
        what: &'static str,
        id: &str,
        change: impl Fn(&mut D) -> Result<(), E>,
    ) -> Result<D, ChangeError<E>>
    where
        D: Document + Clone + PartialEq,
    {
        let mut writer = self.0.driver.writer(what).await?;
        for _ in 0..ATTEMPTS {
            let stored = driver::read(&mut writer, what, D::KIND, id).await?.ok_or(ChangeError::NotFound)?;
            let old = D::read(what, id, &stored.body)?;
            let mut new = old.clone();
            change(&mut new).map_err(ChangeError::Refused)?;
            if new == old {
                return Ok(old);
            }
            let mut write = Write::on(&mut writer, what).await?;
            if write.replace(&new, stored.revision).await? {
                write.commit().await?;
                drop(writer);
                self.show_own_change().await;
                return Ok(new);
            }
        }
        Err(StoreError::new(what, Kind::Conflict).into())
    }
}
