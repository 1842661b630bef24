//! How workers share the sessions of a token that has fewer than there are workers.
//!
//! A worker that gets no session, because the token has none left, puts its command back for another and rests. And one gives
//! up its own when a lane of another kind gets none. One never rests: it answers for all.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long a worker that got no session waits before it tries again.
const REST: Duration = Duration::from_secs(30);

/// Which workers rest.
pub(super) struct SessionSharing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    rests: Vec<bool>,
    /// True if a worker is to give up its session, because a lane of another kind gets none.
    to_spare: bool,
    is_over: bool,
}

impl SessionSharing {
    /// For workers of which these have no session to begin with.
    pub(super) fn new(rests: Vec<bool>) -> Self {
        Self { state: Mutex::new(State { rests, to_spare: false, is_over: false }), changed: Condvar::new() }
    }

    /// This worker gets no session: true if it may rest, because there is another.
    pub(super) fn may_rest(&self, worker: usize) -> bool {
        self.state.lock().rest(worker)
    }

    /// True if this worker is to rest: it has begun to, or is to give up its session for another lane.
    pub(super) fn is_to_rest(&self, worker: usize) -> bool {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.to_spare) {
            state.rest(worker);
        }
        state.rests(worker)
    }

    /// A lane of another kind gets no session: a worker gives up its own, unless it is the only one.
    pub(super) fn spare_one(&self) {
        let mut state = self.state.lock();
        state.to_spare = state.rests.iter().filter(|rests| !**rests).count() > 1;
    }

    /// True if a worker is to give up its session.
    pub(super) fn is_one_to_spare(&self) -> bool {
        self.state.lock().to_spare
    }

    /// Waits until it may be worth trying again to get a session.
    pub(super) fn rest(&self, worker: usize) {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.rests(worker) && !state.is_over, REST);
        if let Some(rests) = state.rests.get_mut(worker) {
            *rests = false;
        }
    }

    /// A session has been closed that somebody may have missed.
    pub(super) fn recall(&self) {
        self.state.lock().rests.fill(false);
        self.changed.notify_all();
    }

    /// Nobody rests any more.
    pub(super) fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }
}

impl State {
    fn rests(&self, worker: usize) -> bool {
        self.rests.get(worker).copied().unwrap_or_default()
    }

    /// Has a worker rest if another does not; whether it does.
    fn rest(&mut self, worker: usize) -> bool {
        let is_another = self.rests.iter().enumerate().any(|(other, rests)| other != worker && !rests);
        if let Some(rests) = self.rests.get_mut(worker).filter(|_| is_another) {
            *rests = true;
        }
        is_another
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_never_rests() {
        let sharing = SessionSharing::new(vec![false; 3]);
        assert!(sharing.may_rest(0) && sharing.may_rest(2) && !sharing.may_rest(1));
        assert_eq!([0, 1, 2].map(|worker| sharing.is_to_rest(worker)), [true, false, true]);
        sharing.spare_one();
        assert!(!sharing.is_one_to_spare());
        sharing.recall();
        assert_eq!([0, 1, 2].map(|worker| sharing.is_to_rest(worker)), [false; 3]);
    }

    #[test]
    fn the_first_that_looks_gives_up_its_session_for_another_lane() {
        let sharing = SessionSharing::new(vec![false; 2]);
        sharing.spare_one();
        assert!(sharing.is_one_to_spare());
        assert_eq!([1, 0].map(|worker| sharing.is_to_rest(worker)), [true, false]);
    }

    #[test]
    fn who_rests_is_recalled() {
        let sharing = SessionSharing::new(vec![false, true]);
        thread::scope(|scope| {
            let resting = scope.spawn(|| sharing.rest(1));
            sharing.recall();
            resting.join().unwrap();
        });
        assert!(!sharing.is_to_rest(1));
    }
}
