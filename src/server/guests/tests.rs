//! Who leaves for whom.

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
    assert_eq!(dismissed(&seats), [0], "it need not have been idle for long where others have less than their share");
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
