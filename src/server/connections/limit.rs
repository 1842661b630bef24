//! The limit of connections: which are admitted, and which are closed for them.
//!
//! A connection costs its client nothing. If none were ever closed, some thousand of them that send nothing, or nothing that
//! takes credentials, would keep every newcomer out. So at the limit one is evicted for a newcomer, which a client that keeps
//! connections expects at any time:
//!
//! - A connection is *authenticated* once the signature of a call on it was verified, and may then be idle for a while. An
//!   unauthenticated one is idle from the moment it was accepted, whatever is sent on it.
//! - A newcomer from a network that has more than its share takes the slot of a connection of that network; one from a network
//!   with less takes a slot of a network with more. As long as no other network wants them, a network may have all slots.
//! - A request of an authenticated connection is never cut off, and a request of an unauthenticated one that has arrived whole
//!   is answered before the connection is closed.
//!
//! One in eight slots is *spare*: with all regular slots taken, newcomers get one of these. Requests of the operator's paths
//! are answered there at once; a call waits there for a regular slot, and is evicted for the next newcomer meanwhile.
//!
//! Behind a proxy all clients have one address, and so one share of connections and bodies: bound them there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    activity::{Activity, IdleLimits},
    slots::{Slot, SlotPool},
};
use crate::api::Peer;

const IN_REGULAR_SLOTS: IdleLimits =
    IdleLimits { unauthenticated: Duration::from_secs(1), authenticated: Duration::from_secs(5) };
const IN_SPARE_SLOTS: IdleLimits = IdleLimits { unauthenticated: Duration::ZERO, authenticated: Duration::ZERO };

/// One slot in this many is spare.
const SPARE: usize = 8;

/// The slots of all connections.
pub(in crate::server) struct ConnectionLimit {
    regular: Arc<SlotPool>,
    spare: Arc<SlotPool>,
}

/// The slot of a connection until this is dropped: a regular one, or a spare one until a regular one is free.
pub(super) struct Permit {
    pub(super) activity: Arc<Activity>,
    slot: Mutex<Slot>,
    is_spare: AtomicBool,
    limit: Arc<ConnectionLimit>,
}

impl ConnectionLimit {
    /// A limit of so many connections.
    pub(in crate::server) fn new(capacity: usize) -> Arc<Self> {
        let spare = (capacity / SPARE).max(1);
        let regular = SlotPool::new(capacity.saturating_sub(spare).max(1), IN_REGULAR_SLOTS);
        Arc::new(Self { regular, spare: SlotPool::new(spare, IN_SPARE_SLOTS) })
    }

    /// Admits a connection: to a regular slot if one is free, else to a spare one as soon as one is free.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Permit {
        let activity = Arc::new(Activity::new(peer.network(), Instant::now()));
        let (slot, is_spare) = match self.regular.try_acquire(&activity) {
            Some(slot) => (slot, false),
            None => (self.spare.acquire(&activity).await, true),
        };
        Permit { activity, slot: Mutex::new(slot), is_spare: is_spare.into(), limit: Arc::clone(self) }
    }

    /// Has all connections closed, and waits for the last.
    pub(in crate::server) async fn close_all(&self) {
        self.regular.close_all();
        self.spare.close_all();
        // A connection may still move from a spare slot to a regular one, and never back.
        self.spare.emptied().await;
        self.regular.emptied().await;
    }
}

impl Permit {
    /// True for a spare slot, in which no call is answered.
    pub(super) fn is_spare(&self) -> bool {
        self.is_spare.load(Ordering::Relaxed)
    }

    /// True if this is a regular slot, or becomes one within `limit` and before the connection is closed.
    pub(super) async fn is_regular_within(&self, limit: Duration) -> bool {
        // Boxed, for else every request would carry the state of this waiting.
        !self.is_spare() || Box::pin(self.wait_for_regular(limit)).await
    }

    async fn wait_for_regular(&self, limit: Duration) -> bool {
        let slot = tokio::select! {
            slot = timeout(limit, self.limit.regular.acquire(&self.activity)) => slot,
            () = self.activity.close_requested() => return false,
        };
        let Ok(slot) = slot else { return false };
        *self.slot.lock() = slot;
        self.is_spare.store(false, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests;
