//! Who is connected, and who leaves when there is no room for another.
//!
//! A connection costs its client nothing and may be idle for as long as the header timeout. If that were all, some thousand
//! idle connections, by malice or by clients with large pools, would make every newcomer wait for seconds. So at the limit
//! the one that has been idle longest is closed, which a client that keeps connections expects at any time. Who was
//! answered before is given more time than a stranger: a flood of connections that ask nothing does not cost the
//! clients at work theirs. Who has a request under way is never closed.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// A stranger may be idle for so long when there is no room: time for a handshake and the head of a request.
const STRANGER: Duration = Duration::from_secs(1);

/// The same for who was answered before, on this connection.
const REGULAR: Duration = Duration::from_secs(5);

/// To look through all for every newcomer would be an attack's work done for it: so many leave at once, one in this many.
const ONE_IN: usize = 64;

/// How long a newcomer waits for room before it is looked again who may leave.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What stands for no time, in [`Guest::idle_since`].
const NOT_IDLE: u64 = u64::MAX;

/// All who are connected.
pub(super) struct Guests {
    capacity: u32,
    room: Arc<Semaphore>,
    present: Mutex<Present>,
    /// What times are counted from.
    start: Instant,
}

#[derive(Default)]
struct Present {
    guests: HashMap<u64, Arc<Guest>>,
    came: u64,
}

/// One connection.
pub(super) struct Guest {
    start: Instant,
    /// In milliseconds.
    idle_since: AtomicU64,
    was_answered: AtomicBool,
    is_dismissed: AtomicBool,
    dismissal: Notify,
}

/// A guest's place, for as long as this is held.
pub(super) struct Seat {
    pub(super) guest: Arc<Guest>,
    number: u64,
    guests: Arc<Guests>,
    _room: OwnedSemaphorePermit,
}

impl Guests {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(capacity as usize));
        Arc::new(Self { capacity, room, present: Mutex::default(), start: Instant::now() })
    }

    /// A seat for a newcomer, as soon as there is one.
    pub(super) async fn seat(self: &Arc<Self>) -> Seat {
        loop {
            if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
                return self.enter(room);
            }
            self.make_room();
            if let Ok(Ok(room)) = timeout(LOOK_AGAIN, Arc::clone(&self.room).acquire_owned()).await {
                return self.enter(room);
            }
        }
    }

    fn enter(self: &Arc<Self>, room: OwnedSemaphorePermit) -> Seat {
        let guest = Arc::new(Guest::new(self.start));
        let mut present = self.present();
        present.came += 1;
        let number = present.came;
        present.guests.insert(number, Arc::clone(&guest));
        drop(present);
        Seat { guest, number, guests: Arc::clone(self), _room: room }
    }

    /// Dismisses those who have been idle for too long, if there are any.
    fn make_room(&self) {
        let now = Instant::now();
        let late = |guest: &Arc<Guest>| guest.overstay(now).map(|overstay| (overstay, Arc::clone(guest)));
        let mut late: Vec<_> = self.present().guests.values().filter_map(late).collect();
        late.sort_unstable_by_key(|(overstay, _)| Reverse(*overstay));
        let some = (self.capacity as usize / ONE_IN).max(1);
        late.iter().take(some).for_each(|(_, guest)| guest.dismiss());
    }

    /// Dismisses all, and waits until the last has left.
    pub(super) async fn close(&self) {
        self.present().guests.values().for_each(|guest| guest.dismiss());
        // Nobody closes the semaphore.
        let _ = self.room.acquire_many(self.capacity).await;
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.present().guests.remove(&self.number);
    }
}

impl Guest {
    fn new(start: Instant) -> Self {
        let guest = Self {
            start,
            idle_since: AtomicU64::new(NOT_IDLE),
            was_answered: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
            dismissal: Notify::new(),
        };
        guest.rest();
        guest
    }

    /// A request is under way.
    pub(super) fn ask(&self) {
        self.idle_since.store(NOT_IDLE, Ordering::Relaxed);
    }

    /// The request was answered: well, or with an error.
    pub(super) fn be_answered(&self, well: bool) {
        self.was_answered.fetch_or(well, Ordering::Relaxed);
        self.rest();
    }

    fn rest(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.idle_since.store(now, Ordering::Relaxed);
    }

    pub(super) fn is_asking(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) == NOT_IDLE
    }

    /// Ends when the connection is to be closed.
    pub(super) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Relaxed);
        self.dismissal.notify_one();
    }

    /// By how much it has been idle longer than it may when there is no room.
    fn overstay(&self, now: Instant) -> Option<Duration> {
        if self.is_asking() || self.is_dismissed.load(Ordering::Relaxed) {
            return None;
        }
        let since = self.start + Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        overstay(now.saturating_duration_since(since), self.was_answered.load(Ordering::Relaxed))
    }
}

fn overstay(idle: Duration, was_answered: bool) -> Option<Duration> {
    idle.checked_sub(if was_answered { REGULAR } else { STRANGER })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_dismissed(seat: &Seat) -> bool {
        seat.guest.is_dismissed.load(Ordering::Relaxed)
    }

    /// As if it had been idle for so many seconds.
    fn age(seat: &Seat, seconds: u64) {
        let earlier = (seat.guest.start.elapsed() - Duration::from_secs(seconds)).as_millis();
        seat.guest.idle_since.store(earlier.try_into().unwrap(), Ordering::Relaxed);
    }

    async fn full(capacity: usize) -> (Arc<Guests>, Vec<Seat>) {
        let start = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let guests = Guests::new(capacity);
        let guests = Arc::new(Guests { start, ..Arc::into_inner(guests).unwrap() });
        let mut seats = Vec::new();
        for _ in 0..capacity {
            seats.push(guests.seat().await);
        }
        (guests, seats)
    }

    #[test]
    fn a_stranger_has_less_time_than_a_regular() {
        let after = |millis, was_answered| overstay(Duration::from_millis(millis), was_answered);
        assert_eq!((after(900, false), after(1_500, false)), (None, Some(Duration::from_millis(500))));
        assert_eq!((after(4_900, true), after(5_500, true)), (None, Some(Duration::from_millis(500))));
    }

    #[tokio::test]
    async fn the_longest_idle_leaves_for_a_newcomer_and_nobody_who_asks() {
        let (guests, mut seats) = full(4).await;
        [100, 50, 70, 0].into_iter().zip(&seats).for_each(|(seconds, seat)| age(seat, seconds));
        seats[0].guest.ask();
        seats[1].guest.be_answered(true);
        guests.make_room();
        assert_eq!(seats.iter().map(is_dismissed).collect::<Vec<_>>(), [false, false, true, false]);
        assert!(timeout(Duration::from_millis(10), guests.seat()).await.is_err(), "it has not left yet");
        seats[2].guest.dismissed().await;
        drop(seats.remove(2));
        assert!(timeout(Duration::from_secs(10), guests.seat()).await.is_ok());
        assert_eq!(guests.present().guests.len(), 3);
    }

    #[tokio::test]
    async fn nobody_leaves_who_has_just_come_or_just_been_answered() {
        let (guests, seats) = full(2).await;
        seats[0].guest.be_answered(true);
        age(&seats[0], 4);
        guests.make_room();
        assert!(!seats.iter().any(is_dismissed));
    }

    #[tokio::test]
    async fn closing_waits_for_the_last() {
        let (guests, seats) = full(3).await;
        assert!(timeout(Duration::from_millis(10), guests.close()).await.is_err());
        assert!(seats.iter().all(is_dismissed));
        drop(seats);
        assert!(timeout(Duration::from_secs(10), guests.close()).await.is_ok());
    }
}
