//! One change on behalf of a call: decided in the transaction that makes it, and stored with its record.
//!
//! A change is given the decision itself (a closure that finds what the caller named and lets the caller do something with it), not
//! what came of it before. It is asked once before the change waits for its turn, so that who may not is told at once, and
//! again in the transaction, where nobody else can write and the view shows all that is stored: keys, policies, grants and
//! aliases as they are then, and the caller as they are then.

use parking_lot::{Mutex, MutexGuard};

use crate::{
    error::KmsError,
    identity::Asker,
    kms::{cx::Cx, record::Notes},
    store::{Actor, NewRecord},
};

/// A change that is about to be made.
pub(super) struct Act<'a> {
    cx: &'a Cx<'a>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the last decision was about.
    decided: Option<Notes>,
    /// Whether the record was given to the store.
    is_recorded: bool,
}

impl<'a> Act<'a> {
    /// A change on behalf of the call of `cx`.
    pub(super) fn of(cx: &'a Cx<'a>) -> Self {
        Self { cx, state: Mutex::default() }
    }

    /// Decides by what is stored now. For closures that the store asks in the transaction.
    ///
    /// # Errors
    /// What `may` refuses; `UnrecognizedClientException` if the caller's access key is gone.
    pub(super) fn decide<T>(&self, may: impl FnOnce(&Cx<'_>) -> Result<T, KmsError>) -> Result<T, KmsError> {
        let cx = self.cx.anew()?;
        let decided = may(&cx)?;
        self.state().decided = Some(cx.into_notes());
        Ok(decided)
    }

    /// The change is made, or needed none: what the call leaves written down is what the decision was about.
    pub(super) fn conclude(self) {
        let State { decided, is_recorded } = self.state.into_inner();
        self.cx.conclude(decided, is_recorded);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Actor for Act<'_> {
    fn asker(&self) -> Asker {
        self.cx.asker()
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        let mut state = self.state();
        let line = self.cx.line(state.decided.as_ref())?;
        state.is_recorded = true;
        Ok(Some(self.cx.kms.new_record(self.cx.event_id(), line)))
    }
}
