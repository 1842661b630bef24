//! A pool of slots, one for each connection, and which connections are evicted when it is full.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::activity::{Activity, IdleLimits};

/// In a network with more than its share, no connection has a right to be idle.
const NO_IDLE_TIME: IdleLimits = IdleLimits { unauthenticated: Duration::ZERO, authenticated: Duration::ZERO };

/// However many networks there are, one with no more than this part of all slots has not too many: else a client with many
/// addresses could make everybody else's share small.
const SMALLEST_SHARE: usize = 16;

/// To look through all connections for every newcomer would be an attack's work done for it: so many are evicted at once, one
/// in this many.
const EVICTED_AT_ONCE: usize = 64;

/// How long a newcomer waits for a free slot before connections are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Slots, and the connections that have them.
pub(super) struct SlotPool {
    capacity: u32,
    idle_limits: IdleLimits,
    free: Arc<Semaphore>,
    occupants: Mutex<Occupants>,
}

#[derive(Default)]
struct Occupants {
    connections: HashMap<u64, Arc<Activity>>,
    /// The number of connections of each network.
    networks: HashMap<IpAddr, usize>,
    /// The number of connections that ever had a slot, which numbers the next.
    accepted: u64,
}

/// A slot that a connection has until this is dropped.
pub(super) struct Slot {
    number: u64,
    activity: Arc<Activity>,
    pool: Arc<SlotPool>,
    _permit: OwnedSemaphorePermit,
}

impl SlotPool {
    /// A pool of so many slots. A connection that has been idle for longer than `idle_limits` may be evicted when it is full.
    pub(super) fn new(capacity: usize, idle_limits: IdleLimits) -> Arc<Self> {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        let free = Arc::new(Semaphore::new(capacity as usize));
        Arc::new(Self { capacity, idle_limits, free, occupants: Mutex::default() })
    }

    /// A slot, if one is free.
    pub(super) fn try_acquire(self: &Arc<Self>, activity: &Arc<Activity>) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|permit| self.occupy(activity, permit))
    }

    /// A slot, as soon as one is free. Connections that may be evicted make room for it.
    pub(super) async fn acquire(self: &Arc<Self>, activity: &Arc<Activity>) -> Slot {
        loop {
            if let Some(slot) = self.try_acquire(activity) {
                return slot;
            }
            self.evict_for(activity.network, Instant::now());
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.occupy(activity, permit);
            }
        }
    }

    /// Has all connections closed.
    pub(super) fn close_all(&self) {
        self.occupants().connections.values().for_each(|activity| activity.close());
    }

    /// Waits until all slots are free.
    pub(super) async fn emptied(&self) {
        // Nobody closes the semaphore.
        let _ = self.free.acquire_many(self.capacity).await;
    }

    fn occupy(self: &Arc<Self>, activity: &Arc<Activity>, permit: OwnedSemaphorePermit) -> Slot {
        let mut occupants = self.occupants();
        occupants.accepted += 1;
        let number = occupants.accepted;
        occupants.connections.insert(number, Arc::clone(activity));
        *occupants.networks.entry(activity.network).or_default() += 1;
        drop(occupants);
        Slot { number, activity: Arc::clone(activity), pool: Arc::clone(self), _permit: permit }
    }

    /// Evicts connections for a newcomer from this network, if any may be: those that are being answered last, unauthenticated
    /// before authenticated ones, and the longest idle first.
    pub(super) fn evict_for(&self, newcomer: IpAddr, now: Instant) {
        let capacity = self.capacity as usize;
        let mut evictable = self.occupants().evictable(newcomer, now, capacity, self.idle_limits);
        evictable
            .sort_by_key(|(activity, idle)| (activity.is_answering(), activity.is_authenticated(), Reverse(*idle)));
        let some = (capacity / EVICTED_AT_ONCE).max(1);
        evictable.iter().take(some).for_each(|(activity, _)| activity.evict());
    }

    fn occupants(&self) -> MutexGuard<'_, Occupants> {
        self.occupants.lock()
    }

    /// The number of connections, and that of their networks.
    #[cfg(test)]
    pub(super) fn occupied(&self) -> (usize, usize) {
        let occupants = self.occupants();
        (occupants.connections.len(), occupants.networks.len())
    }
}

impl Occupants {
    /// The connections that may be evicted, each with the time for which it has been idle.
    fn evictable(
        &self,
        newcomer: IpAddr,
        now: Instant,
        capacity: usize,
        idle_limits: IdleLimits,
    ) -> Vec<(Arc<Activity>, Duration)> {
        let count = |network: &IpAddr| self.networks.get(network).copied().unwrap_or(0);
        let networks = self.networks.len() + usize::from(count(&newcomer) == 0);
        let share = (capacity / networks.min(SMALLEST_SHARE)).max(1);
        let idle = |is_meant: &dyn Fn(&Activity) -> bool, limits: IdleLimits| -> Vec<_> {
            let meant = self.connections.values().filter(|activity| is_meant(activity));
            meant.filter_map(|activity| Some((Arc::clone(activity), activity.idle_beyond(limits, now)?))).collect()
        };
        if count(&newcomer) >= share {
            return idle(&|activity| activity.network == newcomer, idle_limits);
        }
        match idle(&|activity| count(&activity.network) > share, NO_IDLE_TIME) {
            none if none.is_empty() => idle(&|_| true, idle_limits),
            some => some,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut occupants = self.pool.occupants();
        occupants.connections.remove(&self.number);
        let left = occupants.networks.get_mut(&self.activity.network).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            occupants.networks.remove(&self.activity.network);
        }
    }
}
