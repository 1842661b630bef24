//! A change on behalf of a call: authorized in the transaction that makes it, and stored with its audit record.
//!
//! A change is given the decision itself, a closure that resolves what the caller named and authorizes the action, and not its
//! result from before. The closure runs once before the change waits for its turn to write, so that a refusal costs nothing, and
//! again in the transaction, in which no other process can write and the view shows all that is stored: keys, policies, grants,
//! aliases and the caller as they are then.

use parking_lot::{Mutex, MutexGuard};

use crate::{
    error::KmsError,
    identity::Asker,
    kms::{cx::Cx, record::Notes},
    store::{Actor, NewRecord},
};

/// A change that a call is about to make.
pub(super) struct CallChange<'a> {
    cx: &'a Cx<'a>,
    progress: Mutex<Progress>,
}

/// How far the change has come.
#[derive(Default)]
struct Progress {
    /// The notes of the last decision.
    decided: Option<Notes>,
    /// True once the store has been given the audit record.
    is_recorded: bool,
}

impl<'a> CallChange<'a> {
    /// A change on behalf of the call of `cx`.
    pub(super) fn of(cx: &'a Cx<'a>) -> Self {
        Self { cx, progress: Mutex::default() }
    }

    /// Decides by what is stored now. For closures that the store calls in the transaction.
    ///
    /// # Errors
    /// Those of `may`; `UnrecognizedClientException` if the caller's access key is gone.
    pub(super) fn decide<T>(&self, may: impl FnOnce(&Cx<'_>) -> Result<T, KmsError>) -> Result<T, KmsError> {
        let cx = self.cx.anew()?;
        let decided = may(&cx)?;
        self.progress().decided = Some(cx.into_notes());
        Ok(decided)
    }

    /// Ends a change that was made, or was none: the audit record has the notes of the last decision.
    pub(super) fn conclude(self) {
        let Progress { decided, is_recorded } = self.progress.into_inner();
        self.cx.conclude(decided, is_recorded);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }
}

impl Actor for CallChange<'_> {
    fn asker(&self) -> Asker {
        self.cx.asker()
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        let mut progress = self.progress();
        let line = self.cx.line(progress.decided.as_ref())?;
        progress.is_recorded = true;
        Ok(Some(self.cx.kms.new_record(self.cx.event_id(), line)))
    }
}
