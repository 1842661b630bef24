//! Connections that are closed for others.

use super::*;

const HERE: &str = "10.0.0.1";
const THERE: &str = "10.0.0.2";

fn peer(address: &str) -> Peer {
    Peer(address.parse().unwrap())
}

fn seconds_ago(seconds: u64) -> Instant {
    Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
}

fn is_closing(permit: &Permit) -> bool {
    permit.activity.is_closing()
}

fn closing(permits: &[Permit]) -> Vec<usize> {
    (0..permits.len()).filter(|index| is_closing(&permits[*index])).collect()
}

/// All regular slots taken, each by an unauthenticated connection that was accepted so many seconds ago.
async fn full_of(connections: &[(&str, u64)]) -> (Arc<ConnectionLimit>, Vec<Permit>) {
    let regular = SlotPool::new(connections.len(), IN_REGULAR_SLOTS);
    let limit = Arc::new(ConnectionLimit { regular, spare: SlotPool::new(2, IN_SPARE_SLOTS) });
    let mut permits = Vec::new();
    for (from, seconds) in connections {
        let activity = Arc::new(Activity::new(peer(from).network(), seconds_ago(*seconds)));
        let slot = limit.regular.acquire(&activity).await;
        let (slot, is_spare) = (Mutex::new(slot), false.into());
        permits.push(Permit { activity, slot, is_spare, limit: Arc::clone(&limit) });
    }
    (limit, permits)
}

/// As if the last authenticated call had been answered so many seconds ago.
fn authenticated(permit: &Permit, seconds: u64) {
    permit.activity.request_answered(true, seconds_ago(seconds));
}

fn come(limit: &ConnectionLimit, from: &str) {
    limit.regular.evict_for(peer(from).network(), Instant::now());
}

#[tokio::test]
async fn the_longest_idle_leaves_and_unauthenticated_before_authenticated() {
    let (limit, permits) = full_of(&[(HERE, 100), (HERE, 50), (HERE, 70), (HERE, 0)]).await;
    authenticated(&permits[0], 60);
    for expected in [vec![2], vec![1, 2], vec![0, 1, 2], vec![0, 1, 2]] {
        come(&limit, HERE);
        assert_eq!(closing(&permits), expected);
    }
}

#[tokio::test]
async fn a_connection_with_a_request_leaves_last_and_an_authenticated_one_never() {
    let (limit, permits) = full_of(&[(HERE, 100), (HERE, 50), (HERE, 70)]).await;
    authenticated(&permits[0], 60);
    for permit in [&permits[0], &permits[2]] {
        permit.activity.request_begun();
        permit.activity.request_received();
    }
    for expected in [vec![1], vec![1, 2], vec![1, 2]] {
        come(&limit, HERE);
        assert_eq!(closing(&permits), expected);
    }
}

#[tokio::test]
async fn a_network_with_more_than_its_share_makes_room_at_its_own_cost() {
    let many = [(HERE, 0), (HERE, 0), (HERE, 30), (THERE, 90)];
    let (limit, permits) = full_of(&many).await;
    authenticated(&permits[2], 0);
    come(&limit, HERE);
    assert!(closing(&permits).is_empty(), "none of its own has been idle for long, and others' do not count");
    come(&limit, "10.0.0.3");
    assert_eq!(closing(&permits), [0], "it need not have been idle for long where others have less than their share");
    come(&limit, "10.0.0.3");
    come(&limit, "10.0.0.3");
    assert_eq!(closing(&permits), [0, 1, 2]);
}

#[tokio::test]
async fn a_network_with_no_more_than_a_sixteenth_keeps_it_however_many_networks_there_are() {
    let from: Vec<String> = (0..60).map(|n| format!("10.1.{n}.1")).collect();
    let many: Vec<_> = from.iter().map(|from| (from.as_str(), 0)).chain([(HERE, 0); 4]).collect();
    let (limit, permits) = full_of(&many).await;
    come(&limit, THERE);
    assert!(closing(&permits).is_empty());
}

#[tokio::test]
async fn a_spare_slot_becomes_a_regular_one_when_a_connection_closes() {
    let (limit, mut permits) = full_of(&[(HERE, 0), (HERE, 0)]).await;
    let newcomer = limit.admit(peer(HERE)).await;
    assert!(newcomer.is_spare());
    assert!(!newcomer.is_regular_within(Duration::from_millis(10)).await);
    drop(permits.pop());
    assert!(newcomer.is_regular_within(Duration::from_secs(10)).await && !newcomer.is_spare());
    assert_eq!((limit.regular.occupied().0, limit.spare.occupied().0), (2, 0));
    assert!(limit.admit(peer(HERE)).await.is_spare());
}

#[tokio::test]
async fn in_a_spare_slot_a_connection_that_waits_gives_way_to_the_next() {
    let (limit, _permits) = full_of(&[(HERE, 0)]).await;
    let (first, _second) = (limit.admit(peer(HERE)).await, limit.admit(peer(HERE)).await);
    let third = limit.admit(peer(THERE));
    let leaves = async move {
        assert!(!first.is_regular_within(Duration::from_secs(10)).await, "it was to leave");
        drop(first);
    };
    let (third, ()) = tokio::join!(third, leaves);
    assert!(third.is_spare());
}

#[tokio::test]
async fn closing_waits_for_the_last() {
    let (limit, permits) = full_of(&[(HERE, 0), (THERE, 0), (HERE, 9)]).await;
    assert!(timeout(Duration::from_millis(10), limit.close_all()).await.is_err());
    assert!(permits.iter().all(is_closing));
    drop(permits);
    assert!(timeout(Duration::from_secs(10), limit.close_all()).await.is_ok());
    assert_eq!(limit.regular.occupied(), (0, 0));
}
