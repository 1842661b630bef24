//! Who is connected, and who leaves when there is no room for another.
//!
//! A connection costs its client nothing. If nobody ever left, some thousand of them that ask nothing, or nothing that takes
//! credentials, would keep every newcomer out. So at the limit somebody is closed for a newcomer, which a client that keeps
//! connections expects at any time:
//!
//! - Only who has proved who they are, by the signature of a call on this connection, is a *regular*, and may be idle for a
//!   while. For everybody else time counts from when they came, whatever they ask meanwhile.
//! - Who comes from a network that has more than its share takes the place of one of its own; a network with less takes that
//!   of one with more. Where nobody else wants it, a network may have everything.
//! - What a regular asks is never cut off, and what a stranger asked is answered before the connection ends.
//!
//! One in eight places is *spare*: with all others taken, newcomers come in there. The operator's paths are answered in a
//! spare place at once; a call waits there for a seat, and gives way to those who come after it.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::api::Peer;

/// How long one may be idle when there is no room.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// With whoever has not proved who they are, since they came: time for a handshake and a request.
    strangers: Duration,
    /// With a regular, since the last call that proved who they are.
    regulars: Duration,
}

const IN_SEATS: Patience = Patience { strangers: Duration::from_secs(1), regulars: Duration::from_secs(5) };
const IN_SPARE_PLACES: Patience = Patience { strangers: Duration::ZERO, regulars: Duration::ZERO };

/// One place in this many is spare.
const SPARE: usize = 8;

/// However many networks there are, one with no more than this part of all places has not too many: else whoever has many
/// addresses could make everybody else's share small.
const SMALLEST_SHARE: usize = 16;

/// To look through all for every newcomer would be an attack's work done for it: so many leave at once, one in this many.
const ONE_IN: usize = 64;

/// How long a newcomer waits for room before it is looked again who may leave.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// All who are connected.
pub(super) struct Guests {
    seats: Arc<Room>,
    spare: Arc<Room>,
}

/// Places, and who has them.
struct Room {
    capacity: u32,
    patience: Patience,
    free: Arc<Semaphore>,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    guests: HashMap<u64, Arc<Guest>>,
    networks: HashMap<IpAddr, usize>,
    came: u64,
}

/// One connection.
pub(super) struct Guest {
    network: IpAddr,
    came: Instant,
    /// When the last call that proved who they are was answered, in milliseconds after they came; 0 for a stranger.
    proved_ms: AtomicU64,
    /// A request has begun to arrive.
    is_sending: AtomicBool,
    /// A request has arrived whole and waits for its answer.
    is_asking: AtomicBool,
    is_dismissed: AtomicBool,
    /// Dismissed for another's sake.
    is_displaced: AtomicBool,
    dismissal: Notify,
}

/// What a guest has for as long as this is held: a seat, or a spare place until it gets one.
pub(super) struct Seat {
    pub(super) guest: Arc<Guest>,
    place: Mutex<Place>,
    is_spare: AtomicBool,
    guests: Arc<Guests>,
}

struct Place {
    number: u64,
    guest: Arc<Guest>,
    room: Arc<Room>,
    _free: OwnedSemaphorePermit,
}

impl Guests {
    /// Room for so many connections.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let spare = (capacity / SPARE).max(1);
        let seats = Room::new(capacity.saturating_sub(spare).max(1), IN_SEATS);
        Arc::new(Self { seats, spare: Room::new(spare, IN_SPARE_PLACES) })
    }

    /// A seat for a newcomer if there is one, or else a spare place, as soon as there is one.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Seat {
        let guest = Arc::new(Guest::new(peer.network(), Instant::now()));
        let (place, is_spare) = match self.seats.try_enter(&guest) {
            Some(place) => (place, false),
            None => (self.spare.enter(&guest).await, true),
        };
        Seat { guest, place: Mutex::new(place), is_spare: is_spare.into(), guests: Arc::clone(self) }
    }

    /// Dismisses all, and waits until the last has left.
    pub(super) async fn close(&self) {
        for room in [&self.seats, &self.spare] {
            room.present().guests.values().for_each(|guest| guest.dismiss());
        }
        for room in [&self.spare, &self.seats] {
            // Nobody closes the semaphore.
            let _ = room.free.acquire_many(room.capacity).await;
        }
    }
}

impl Seat {
    /// Whether it is a spare place, where no call is answered.
    pub(super) fn is_spare(&self) -> bool {
        self.is_spare.load(Ordering::Relaxed)
    }

    /// Waits for a seat, if it is not one, for so long and until the guest is dismissed; whether it is one then.
    pub(super) async fn is_seat_within(&self, limit: Duration) -> bool {
        // Boxed, for else every request of everybody would carry the state of this waiting.
        !self.is_spare() || Box::pin(self.wait_for_a_seat(limit)).await
    }

    async fn wait_for_a_seat(&self, limit: Duration) -> bool {
        let place = tokio::select! {
            place = timeout(limit, self.guests.seats.enter(&self.guest)) => place,
            () = self.guest.dismissed() => return false,
        };
        let Ok(place) = place else { return false };
        *self.place.lock() = place;
        self.is_spare.store(false, Ordering::Relaxed);
        true
    }
}

impl Room {
    fn new(capacity: usize, patience: Patience) -> Arc<Self> {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        let free = Arc::new(Semaphore::new(capacity as usize));
        Arc::new(Self { capacity, patience, free, present: Mutex::default() })
    }

    fn try_enter(self: &Arc<Self>, guest: &Arc<Guest>) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|free| self.place(guest, free))
    }

    async fn enter(self: &Arc<Self>, guest: &Arc<Guest>) -> Place {
        loop {
            if let Some(place) = self.try_enter(guest) {
                return place;
            }
            self.make_room(guest.network, Instant::now());
            if let Ok(Ok(free)) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.place(guest, free);
            }
        }
    }

    fn place(self: &Arc<Self>, guest: &Arc<Guest>, free: OwnedSemaphorePermit) -> Place {
        let mut present = self.present();
        present.came += 1;
        let number = present.came;
        present.guests.insert(number, Arc::clone(guest));
        *present.networks.entry(guest.network).or_default() += 1;
        drop(present);
        Place { number, guest: Arc::clone(guest), room: Arc::clone(self), _free: free }
    }

    /// Dismisses those who may be made to leave for a newcomer from this network, if there are any.
    fn make_room(&self, newcomer: IpAddr, now: Instant) {
        let mut leaving = self.present().who_may_leave(newcomer, now, self.capacity as usize, self.patience);
        leaving.sort_by_key(|(guest, since)| (guest.is_asking(), guest.is_regular(), Reverse(*since)));
        let some = (self.capacity as usize / ONE_IN).max(1);
        leaving.iter().take(some).for_each(|(guest, _)| guest.displace());
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock()
    }
}

impl Present {
    /// Each with the time for which it has been idle.
    fn who_may_leave(
        &self,
        newcomer: IpAddr,
        now: Instant,
        capacity: usize,
        patience: Patience,
    ) -> Vec<(Arc<Guest>, Duration)> {
        let of = |network: &IpAddr| self.networks.get(network).copied().unwrap_or(0);
        let networks = self.networks.len() + usize::from(of(&newcomer) == 0);
        let share = (capacity / networks.min(SMALLEST_SHARE)).max(1);
        let from = |is_theirs: &dyn Fn(&Guest) -> bool, patience: Patience| -> Vec<_> {
            let theirs = self.guests.values().filter(|guest| is_theirs(guest));
            theirs.filter_map(|guest| Some((Arc::clone(guest), guest.idle_beyond(patience, now)?))).collect()
        };
        if of(&newcomer) >= share {
            return from(&|guest| guest.network == newcomer, patience);
        }
        match from(&|guest| of(&guest.network) > share, IN_SPARE_PLACES) {
            nobody if nobody.is_empty() => from(&|_| true, patience),
            some => some,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.room.present();
        present.guests.remove(&self.number);
        let left = present.networks.get_mut(&self.guest.network).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            present.networks.remove(&self.guest.network);
        }
    }
}

impl Guest {
    fn new(network: IpAddr, came: Instant) -> Self {
        Self {
            network,
            came,
            proved_ms: AtomicU64::new(0),
            is_sending: AtomicBool::new(false),
            is_asking: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
            is_displaced: AtomicBool::new(false),
            dismissal: Notify::new(),
        }
    }

    /// A request has begun to arrive.
    pub(super) fn begin(&self) {
        self.is_sending.store(true, Ordering::Relaxed);
    }

    /// The request has arrived whole and waits for its answer.
    pub(super) fn ask(&self) {
        self.is_asking.store(true, Ordering::Relaxed);
    }

    /// The request was answered; whether it proved who they are.
    pub(super) fn be_answered(&self, proved: bool) {
        if proved {
            let now = u64::try_from(self.came.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.proved_ms.store(now.max(1), Ordering::Relaxed);
        }
        self.is_sending.store(false, Ordering::Relaxed);
        self.is_asking.store(false, Ordering::Relaxed);
    }

    /// Whether it is answered before it leaves: what has arrived, and at a stop also what still arrives.
    pub(super) fn is_owed_an_answer(&self) -> bool {
        self.is_asking() || self.is_sending() && !self.is_displaced()
    }

    /// Whether a request has arrived whole and waits for its answer.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking.load(Ordering::Relaxed)
    }

    fn is_sending(&self) -> bool {
        self.is_sending.load(Ordering::Relaxed)
    }

    /// Whether it has proved who it is.
    pub(super) fn is_regular(&self) -> bool {
        self.proved_ms.load(Ordering::Relaxed) > 0
    }

    /// Whether it leaves for another's sake.
    pub(super) fn is_displaced(&self) -> bool {
        self.is_displaced.load(Ordering::Relaxed)
    }

    /// Ends when the connection is to be closed.
    pub(super) async fn dismissed(&self) {
        let told = self.dismissal.notified();
        if !self.is_dismissed.load(Ordering::Acquire) {
            told.await;
        }
    }

    fn displace(&self) {
        self.is_displaced.store(true, Ordering::Relaxed);
        self.dismiss();
    }

    fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        self.dismissal.notify_waiters();
    }

    /// For how long it has been idle, if that is longer than it may when there is no room. A stranger is idle whatever it
    /// asks; a regular that asks is not.
    fn idle_beyond(&self, patience: Patience, now: Instant) -> Option<Duration> {
        if self.is_dismissed.load(Ordering::Relaxed) || self.is_regular() && self.is_sending() {
            return None;
        }
        let since = self.came + Duration::from_millis(self.proved_ms.load(Ordering::Relaxed));
        let idle = now.saturating_duration_since(since);
        (idle >= if self.is_regular() { patience.regulars } else { patience.strangers }).then_some(idle)
    }
}

#[cfg(test)]
mod tests;
