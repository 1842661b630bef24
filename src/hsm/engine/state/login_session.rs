//! The session that shared objects live in, and who uses them just now.
//!
//! PKCS#11 does not say what becomes of a call whose key goes meanwhile. SoftHSM2 reads what is left of the key: it says of a
//! good signature that its length is wrong, or crashes. So the session is closed when nobody is in it, and nobody enters once
//! its login has ended.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::session::Session;
use parking_lot::{RwLock, RwLockReadGuard};

use crate::hsm::error::{HsmError, Kind};

const LOOK: Duration = Duration::from_millis(1);

/// A session whose objects others use through its [`LoginLock`].
pub(in crate::hsm) struct LoginSession {
    pub(in crate::hsm) session: Session,
    pub(in crate::hsm) lock: Arc<LoginLock>,
}

/// The way to the objects of one login.
pub(in crate::hsm) struct LoginLock {
    /// The login under which they were made; under another their handles mean nothing, or something else.
    pub(in crate::hsm) epoch: u64,
    users: RwLock<()>,
}

/// While a guard is held, the session of the objects is not closed.
pub(in crate::hsm) struct LoginGuard<'a> {
    _stays: RwLockReadGuard<'a, ()>,
}

impl LoginSession {
    pub(in crate::hsm) fn new(session: Session, epoch: u64) -> Self {
        Self { session, lock: Arc::new(LoginLock::new(epoch)) }
    }

    /// Closes the session if nobody uses its objects any more in time; else gives it back. Its epoch must have ended.
    pub(in crate::hsm) fn close(self, patience: Duration) -> Option<Self> {
        let until = Instant::now() + patience;
        while !self.lock.is_empty() {
            if Instant::now() >= until {
                return Some(self);
            }
            thread::sleep(LOOK);
        }
        None
    }

    /// Closes the session when nobody uses its objects any more, however long that takes.
    pub(in crate::hsm) fn close_when_unused(self) {
        drop(self.lock.users.write());
    }
}

impl LoginLock {
    pub(in crate::hsm) fn new(epoch: u64) -> Self {
        Self { epoch, users: RwLock::default() }
    }

    /// Lets a user of the objects in, as long as it is `epoch`.
    pub(in crate::hsm) fn enter(&self, epoch: impl FnOnce() -> u64) -> Result<LoginGuard<'_>, HsmError> {
        let guard = self.users.try_read().map(|stays| LoginGuard { _stays: stays });
        // Looked at once inside: who ends the epoch and then finds nobody in may close the session.
        guard
            .filter(|_| epoch() == self.epoch)
            .ok_or_else(|| HsmError::new(Kind::KeyMissing, "lease", "the handle is of an earlier login"))
    }

    fn is_empty(&self) -> bool {
        self.users.try_write().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_when_the_login_has_ended() {
        let lock = LoginLock::new(7);
        assert!(lock.enter(|| 7).is_ok());
        let refused = lock.enter(|| 8).err().unwrap();
        assert_eq!((refused.kind, refused.is_of_a_dead_handle()), (Kind::KeyMissing, true));
    }

    #[test]
    fn the_house_is_empty_when_all_guests_have_left() {
        let lock = LoginLock::new(0);
        assert!(lock.is_empty());
        let users = [lock.enter(|| 0), lock.enter(|| 0)];
        assert!(users.iter().all(Result::is_ok) && !lock.is_empty());
        let [one, other] = users;
        drop(one);
        assert!(!lock.is_empty());
        drop(other);
        assert!(lock.is_empty());
    }
}
