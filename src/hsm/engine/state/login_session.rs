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

/// A session whose objects others use through its [`Door`].
pub(in crate::hsm) struct Home {
    pub(in crate::hsm) session: Session,
    pub(in crate::hsm) door: Arc<Door>,
}

/// The way to the objects of one login.
pub(in crate::hsm) struct Door {
    /// The login under which they were made; under another their handles mean nothing, or something else.
    pub(in crate::hsm) epoch: u64,
    guests: RwLock<()>,
}

/// Who holds this may use the objects: their session stays.
pub(in crate::hsm) struct Guest<'a> {
    _stays: RwLockReadGuard<'a, ()>,
}

impl Home {
    pub(in crate::hsm) fn new(session: Session, epoch: u64) -> Self {
        Self { session, door: Arc::new(Door::new(epoch)) }
    }

    /// Closes the session if its guests leave in time; gives it back if one stays. Its epoch must have ended.
    pub(in crate::hsm) fn close(self, patience: Duration) -> Option<Self> {
        let until = Instant::now() + patience;
        while !self.door.is_empty() {
            if Instant::now() >= until {
                return Some(self);
            }
            thread::sleep(LOOK);
        }
        None
    }

    /// Closes the session when the last guest has left, however long that takes.
    pub(in crate::hsm) fn outlive_guests(self) {
        drop(self.door.guests.write());
    }
}

impl Door {
    pub(in crate::hsm) fn new(epoch: u64) -> Self {
        Self { epoch, guests: RwLock::default() }
    }

    /// Lets a user of the objects in, as long as it is `epoch`.
    pub(in crate::hsm) fn enter(&self, epoch: impl FnOnce() -> u64) -> Result<Guest<'_>, HsmError> {
        let guest = self.guests.try_read().map(|stays| Guest { _stays: stays });
        // Looked at once inside: who ends the epoch and then finds nobody in may close the session.
        guest
            .filter(|_| epoch() == self.epoch)
            .ok_or_else(|| HsmError::new(Kind::KeyMissing, "lease", "the handle is of an earlier login"))
    }

    fn is_empty(&self) -> bool {
        self.guests.try_write().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_when_the_login_has_ended() {
        let door = Door::new(7);
        assert!(door.enter(|| 7).is_ok());
        let refused = door.enter(|| 8).err().unwrap();
        assert_eq!((refused.kind, refused.is_of_a_dead_handle()), (Kind::KeyMissing, true));
    }

    #[test]
    fn the_house_is_empty_when_all_guests_have_left() {
        let door = Door::new(0);
        assert!(door.is_empty());
        let guests = [door.enter(|| 0), door.enter(|| 0)];
        assert!(guests.iter().all(Result::is_ok) && !door.is_empty());
        let [one, other] = guests;
        drop(one);
        assert!(!door.is_empty());
        drop(other);
        assert!(door.is_empty());
    }
}
