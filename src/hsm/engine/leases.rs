//! Leases: while somebody holds one, the object behind its handle is not destroyed.
//!
//! The service says which leases there are, and when nobody needs one any more (`dispatch/handles`). A thread that is still in
//! a call with it, though nobody waits for that, holds it a while longer.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use cryptoki::object::ObjectHandle;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::hsm::engine::calls::proof::ProofSchedule;
use crate::hsm::engine::state::login_session::LoginLock;
use crate::hsm::error::{HsmError, Kind};

/// The number by which the service knows a lease, too. No two have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::hsm) struct LeaseNumber(pub(in crate::hsm) u64);

/// The right to use a handle for as long as one holds this.
pub(in crate::hsm) struct Lease {
    pub(in crate::hsm) handle: ObjectHandle,
    /// Where its object is.
    pub(in crate::hsm) lock: Arc<LoginLock>,
    /// Counts the answers under it, some of which are proved.
    pub(in crate::hsm) believed: ProofSchedule,
    /// Where the object's end is told; `None` for a token object, which stays.
    unused: Option<Sender<UnusedObject>>,
}

/// An object that no lease is of any more, and the epoch of the login that it was made in.
pub(super) struct UnusedObject {
    pub(super) handle: ObjectHandle,
    pub(super) epoch: u64,
}

/// All leases, by their numbers.
pub(super) struct Leases {
    table: RwLock<HashMap<LeaseNumber, Arc<Lease>>>,
    unused: (Sender<UnusedObject>, Receiver<UnusedObject>),
}

impl Leases {
    pub(super) fn new() -> Self {
        Self { table: RwLock::default(), unused: unbounded() }
    }

    /// Leases a handle; `ours` if its object is to be destroyed after the last use.
    pub(super) fn put(&self, number: LeaseNumber, handle: ObjectHandle, ours: bool, lock: &Arc<LoginLock>) {
        let unused = ours.then(|| self.unused.0.clone());
        let lease = Lease { handle, lock: Arc::clone(lock), believed: ProofSchedule::default(), unused };
        let replaced = self.table.write().insert(number, Arc::new(lease));
        drop(replaced);
    }

    /// The lease of this number.
    ///
    /// # Errors
    /// If it has been given back, or never was: the handle is to be had anew.
    pub(super) fn get(&self, number: LeaseNumber) -> Result<Arc<Lease>, HsmError> {
        let lease = self.table.read().get(&number).cloned();
        lease.ok_or_else(|| HsmError::new(Kind::KeyMissing, "lease", "the handle is not leased any more"))
    }

    /// Nobody needs it any more.
    pub(super) fn give_back(&self, number: LeaseNumber) {
        let lease = self.table.write().remove(&number);
        drop(lease);
    }

    /// An object that can be destroyed, for no lease is of it any more.
    pub(super) fn next_unused(&self) -> Option<UnusedObject> {
        self.unused.1.try_recv().ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(unused) = &self.unused {
            // An anchor that is gone has closed its session, and the object went with it.
            let _ = unused.send(UnusedObject { handle: self.handle, epoch: self.lock.epoch });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::engine::calls::raw::handle_of_nothing;

    #[test]
    fn an_object_is_unused_when_it_was_given_back_and_no_thread_is_in_a_call_with_it() {
        let (leases, lock) = (Leases::new(), Arc::new(LoginLock::new(3)));
        leases.put(LeaseNumber(1), handle_of_nothing(10), true, &lock);
        leases.put(LeaseNumber(2), handle_of_nothing(20), false, &lock);
        let used = leases.get(LeaseNumber(1)).ok().unwrap();
        leases.give_back(LeaseNumber(1));
        leases.give_back(LeaseNumber(2));
        assert!(leases.get(LeaseNumber(1)).is_err() && leases.next_unused().is_none());
        drop(used);
        assert!(leases.next_unused().is_some_and(|object| object.handle.handle() == 10 && object.epoch == 3));
        assert!(leases.next_unused().is_none(), "the other is an object of the token, which stays");
    }
}
