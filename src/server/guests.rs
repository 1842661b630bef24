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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

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
        if !self.is_spare() {
            return true;
        }
        let place = tokio::select! {
            place = timeout(limit, self.guests.seats.enter(&self.guest)) => place,
            () = self.guest.dismissed() => return false,
        };
        let Ok(place) = place else { return false };
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
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
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.is_asking() || self.is_sending() && !self.is_displaced.load(Ordering::Relaxed)
    }

    /// Whether a request has arrived whole and waits for its answer.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking.load(Ordering::Relaxed)
    }

    fn is_sending(&self) -> bool {
        self.is_sending.load(Ordering::Relaxed)
    }

    fn is_regular(&self) -> bool {
        self.proved_ms.load(Ordering::Relaxed) > 0
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
mod tests {
    use super::*;

    const HERE: &str = "10.0.0.1";
    const THERE: &str = "10.0.0.2";

    fn peer(address: &str) -> Peer {
        Peer(address.parse().unwrap())
    }

    fn long_ago() -> Instant {
        Instant::now().checked_sub(Duration::from_secs(3600)).unwrap()
    }

    fn is_dismissed(seat: &Seat) -> bool {
        seat.guest.is_dismissed.load(Ordering::Relaxed)
    }

    fn dismissed(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len()).filter(|index| is_dismissed(&seats[*index])).collect()
    }

    /// All seats taken, each by somebody who has been there for so many seconds, and with no call that proved who they are.
    async fn full_of(who: &[(&str, u64)]) -> (Arc<Guests>, Vec<Seat>) {
        let seats = Room::new(who.len(), IN_SEATS);
        let guests = Arc::new(Guests { seats, spare: Room::new(2, IN_SPARE_PLACES) });
        let mut taken = Vec::new();
        for (from, seconds) in who {
            let came = Instant::now().checked_sub(Duration::from_secs(*seconds)).unwrap();
            let guest = Arc::new(Guest::new(peer(from).network(), came));
            let place = guests.seats.enter(&guest).await;
            let (place, is_spare) = (Mutex::new(place), false.into());
            taken.push(Seat { guest, place, is_spare, guests: Arc::clone(&guests) });
        }
        (guests, taken)
    }

    /// As if the last call that proved who they are had been answered so many seconds ago.
    fn proved(seat: &Seat, seconds: u64) {
        seat.guest.be_answered(true);
        let then = seat.guest.came.elapsed() - Duration::from_secs(seconds);
        seat.guest.proved_ms.store(then.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    fn come(guests: &Guests, from: &str) {
        guests.seats.make_room(peer(from).network(), Instant::now());
    }

    #[test]
    fn a_stranger_has_less_time_than_a_regular_and_questions_buy_none() {
        let guest = Guest::new(peer(HERE).network(), long_ago());
        let idle_after = |seconds| guest.idle_beyond(IN_SEATS, guest.came + Duration::from_millis(seconds));
        assert_eq!((idle_after(900), idle_after(1_500)), (None, Some(Duration::from_millis(1_500))));
        for step in [Guest::begin as fn(&Guest), Guest::ask, |guest| guest.be_answered(false)] {
            step(&guest);
            assert!(idle_after(1_500).is_some());
        }
        guest.be_answered(true);
        guest.proved_ms.store(10_000, Ordering::Relaxed);
        assert_eq!((idle_after(14_900), idle_after(15_500)), (None, Some(Duration::from_millis(5_500))));
        guest.be_answered(false);
        assert!(idle_after(15_500).is_some(), "a call that proved nothing does not count");
        guest.begin();
        assert_eq!(idle_after(60_000), None, "what a regular asks is not cut off");
    }

    #[tokio::test]
    async fn the_longest_idle_leaves_and_strangers_before_regulars() {
        let (guests, seats) = full_of(&[(HERE, 100), (HERE, 50), (HERE, 70), (HERE, 0)]).await;
        proved(&seats[0], 60);
        for expected in [vec![2], vec![1, 2], vec![0, 1, 2], vec![0, 1, 2]] {
            come(&guests, HERE);
            assert_eq!(dismissed(&seats), expected);
        }
    }

    #[tokio::test]
    async fn who_asks_leaves_last_and_a_regular_who_asks_never() {
        let (guests, seats) = full_of(&[(HERE, 100), (HERE, 50), (HERE, 70)]).await;
        proved(&seats[0], 60);
        [&seats[0], &seats[2]].into_iter().for_each(|seat| seat.guest.begin());
        [&seats[0], &seats[2]].into_iter().for_each(|seat| seat.guest.ask());
        for expected in [vec![1], vec![1, 2], vec![1, 2]] {
            come(&guests, HERE);
            assert_eq!(dismissed(&seats), expected);
        }
    }

    #[test]
    fn what_still_arrives_is_waited_for_at_a_stop_and_not_for_another() {
        for (leave, waits) in [(Guest::dismiss as fn(&Guest), true), (Guest::displace, false)] {
            let guest = Guest::new(peer(HERE).network(), long_ago());
            guest.begin();
            leave(&guest);
            assert_eq!(guest.is_owed_an_answer(), waits);
            guest.ask();
            assert!(guest.is_owed_an_answer());
            guest.be_answered(true);
            assert!(!guest.is_owed_an_answer());
        }
    }

    #[tokio::test]
    async fn a_network_with_more_than_its_share_makes_room_at_its_own_cost() {
        let many = [(HERE, 0), (HERE, 0), (HERE, 30), (THERE, 90)];
        let (guests, seats) = full_of(&many).await;
        proved(&seats[2], 0);
        come(&guests, HERE);
        assert!(dismissed(&seats).is_empty(), "none of its own has been idle for long, and others' do not count");
        come(&guests, "10.0.0.3");
        assert_eq!(
            dismissed(&seats),
            [0],
            "it need not have been idle for long where others have less than their share"
        );
        come(&guests, "10.0.0.3");
        come(&guests, "10.0.0.3");
        assert_eq!(dismissed(&seats), [0, 1, 2]);
    }

    #[tokio::test]
    async fn who_has_no_more_than_a_sixteenth_keeps_it_however_many_networks_there_are() {
        let from: Vec<String> = (0..60).map(|n| format!("10.1.{n}.1")).collect();
        let many: Vec<_> = from.iter().map(|from| (from.as_str(), 0)).chain([(HERE, 0); 4]).collect();
        let (guests, seats) = full_of(&many).await;
        come(&guests, THERE);
        assert!(dismissed(&seats).is_empty());
    }

    #[tokio::test]
    async fn a_spare_place_becomes_a_seat_when_somebody_leaves() {
        let (guests, mut seats) = full_of(&[(HERE, 0), (HERE, 0)]).await;
        let newcomer = guests.admit(peer(HERE)).await;
        assert!(newcomer.is_spare());
        assert!(!newcomer.is_seat_within(Duration::from_millis(10)).await);
        drop(seats.pop());
        assert!(newcomer.is_seat_within(Duration::from_secs(10)).await && !newcomer.is_spare());
        assert_eq!((guests.seats.present().guests.len(), guests.spare.present().guests.len()), (2, 0));
        assert!(guests.admit(peer(HERE)).await.is_spare());
    }

    #[tokio::test]
    async fn in_spare_places_who_waits_gives_way_to_the_next() {
        let (guests, _seats) = full_of(&[(HERE, 0)]).await;
        let (first, _second) = (guests.admit(peer(HERE)).await, guests.admit(peer(HERE)).await);
        let third = guests.admit(peer(THERE));
        let leaves = async move {
            assert!(!first.is_seat_within(Duration::from_secs(10)).await, "it was to leave");
            drop(first);
        };
        let (third, ()) = tokio::join!(third, leaves);
        assert!(third.is_spare());
    }

    #[tokio::test]
    async fn closing_waits_for_the_last() {
        let (guests, seats) = full_of(&[(HERE, 0), (THERE, 0), (HERE, 9)]).await;
        assert!(timeout(Duration::from_millis(10), guests.close()).await.is_err());
        assert!(seats.iter().all(is_dismissed));
        drop(seats);
        assert!(timeout(Duration::from_secs(10), guests.close()).await.is_ok());
        assert!(guests.seats.present().networks.is_empty());
    }
}
