//! Why the store could not do what it was asked.

use std::{error::Error, fmt, io};

/// The kinds of failure that a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Somebody else changed the document; nothing was written.
    Conflict,
    /// The database did not answer in time, or not at all; nothing is known to have been written.
    Unavailable,
    /// More is to be written than there is time for; nothing was written.
    Busy,
    /// There is no room left; nothing was written.
    Full,
    /// The database's file was removed or replaced; what is written would be nowhere.
    Moved,
    /// A stored document cannot be read.
    Corrupt,
    /// The database was written by a version of the service that this one does not understand.
    Schema,
}

/// A failure of the store. `Display` names the question and the kind; what the database said is the source, for the log.
#[derive(Debug)]
pub struct StoreError {
    /// The attempt, as in "could not `what`".
    pub what: &'static str,
    /// The kind of failure.
    pub kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    pub(super) fn new(what: &'static str, kind: StoreErrorKind) -> Self {
        Self { what, kind, source: None }
    }

    pub(super) fn because(
        what: &'static str,
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { what, kind, source: Some(source.into()) }
    }

    /// For `map_err`: what the database said while we did `what`.
    pub(super) fn sql(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::because(what, kind_of(&error), error)
    }

    /// For `map_err`: what the file system said while we did `what`.
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| {
            let full = error.kind() == io::ErrorKind::StorageFull;
            Self::because(what, if full { StoreErrorKind::Full } else { StoreErrorKind::Unavailable }, error)
        }
    }
}

/// The one table from what the driver says to what we make of it.
fn kind_of(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(error) => sqlite_kind(error.code().as_deref().unwrap_or_default()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

/// SQLite's extended result codes keep the primary code in their low byte (sqlite.org/rescode.html).
fn sqlite_kind(code: &str) -> StoreErrorKind {
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(19) => StoreErrorKind::Conflict,     // SQLITE_CONSTRAINT
        Ok(13) => StoreErrorKind::Full,         // SQLITE_FULL
        Ok(11 | 26) => StoreErrorKind::Corrupt, // SQLITE_CORRUPT, SQLITE_NOTADB
        _ => StoreErrorKind::Unavailable,
    }
}

impl StoreErrorKind {
    /// In words for an operator.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Conflict => "it was changed by somebody else",
            Self::Unavailable => "the database is not available",
            Self::Busy => "more is to be written than there is time for",
            Self::Full => "there is no room left for the database",
            Self::Moved => "the database's file was removed or replaced while the service has it open",
            Self::Corrupt => "what is stored cannot be read",
            Self::Schema => "the database has a schema that this version does not support",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.what, self.kind.why())
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Why a document was not changed: the change itself refused, the document is gone, or the store failed.
#[derive(Debug)]
pub enum ChangeError<E> {
    /// The closure's own error.
    Refused(E),
    /// There is no such document (any more).
    NotFound,
    /// The store failed.
    Store(StoreError),
}

impl<E> From<StoreError> for ChangeError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
