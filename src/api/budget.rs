//! Memory for large bodies: what all of them may take together, and of that what one network may.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a body waits for memory. Clients wait better than we do, and while one waits it holds a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// One network may take one part in this many.
const SHARE: usize = 4;

/// A permit is a byte.
pub(super) struct Budget {
    all: Arc<Semaphore>,
    share: usize,
    patience: Duration,
    /// Of networks that have some now.
    shares: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// Memory for a body, given back when this goes.
pub(super) struct Memory {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Budget {
    /// So many bytes for all bodies. The `longest` body fits into the share of a network.
    pub(super) fn new(bytes: usize, longest: usize) -> Self {
        let bytes = bytes.clamp(longest, Semaphore::MAX_PERMITS);
        let share = (bytes / SHARE).max(longest);
        Self { all: Arc::new(Semaphore::new(bytes)), share, patience: PATIENCE, shares: Mutex::default() }
    }

    /// So many bytes, if they are free soon.
    pub(super) async fn take(&self, network: IpAddr, bytes: usize) -> Option<Memory> {
        let bytes = u32::try_from(bytes).ok()?;
        let take = async {
            let _share = self.share_of(network).acquire_many_owned(bytes).await.ok()?;
            let _all = Arc::clone(&self.all).acquire_many_owned(bytes).await.ok()?;
            Some(Memory { _share, _all })
        };
        timeout(self.patience, take).await.ok()?
    }

    fn share_of(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(&network).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(network, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test]
    async fn a_network_has_a_share_and_all_have_no_more_than_there_is() {
        let budget = Budget { patience: Duration::from_millis(10), ..Budget::new(1000, 100) };
        let mut held = Vec::new();
        for last in 0..4 {
            held.push(budget.take(network(last), 250).await.unwrap());
            assert!(budget.take(network(last), 1).await.is_none(), "more than its share");
        }
        assert!(budget.take(network(9), 1).await.is_none(), "more than there is");
        held.pop();
        assert!(budget.take(network(9), 250).await.is_some());
        drop(held);
        assert!(budget.take(network(1), 250).await.is_some());
        assert_eq!(budget.all.available_permits(), 1000);
        assert!(budget.shares.lock().len() <= 5);
        drop(budget.share_of(network(7)));
        assert_eq!(budget.shares.lock().len(), 1, "who has nothing is forgotten");
    }

    #[tokio::test]
    async fn the_longest_body_fits_whatever_the_budget() {
        let budget = Budget::new(10, 100);
        assert!(budget.take(network(1), 100).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let budget = Budget::new(100, 100);
        let held = budget.take(network(1), 100).await;
        let (taken, ()) = tokio::join!(budget.take(network(2), 50), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert!(taken.is_some());
    }
}
