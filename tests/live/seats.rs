//! Who gets in when there are more clients than connections.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use strongroom_faults::rule::Rule;

use crate::{
    hanging::with_faults,
    server::{Server, within},
    wire::{Answer, Connection, Request},
};

/// One in eight of them is spare.
const CONNECTIONS: usize = 100;
const AT_ONCE: Duration = Duration::from_secs(2);

fn full_house(connections: usize) -> Server {
    let mut server = Server::new().with("STRONGROOM__LIMITS__CONNECTIONS", connections);
    server.start();
    server
}

fn get(server: &Server, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()).into_bytes()
}

/// An address of this host.
pub fn home(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// An answer on a new connection, and how long it took.
fn newcomer(address: SocketAddr, from: IpAddr, request: &[u8]) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = Connection::open_from(from, address).send(request).answer();
    (answer, began.elapsed())
}

#[track_caller]
fn assert_let_in(server: &Server, from: IpAddr) {
    for _ in 0..3 {
        let (answer, took) = newcomer(server.address(), from, &server.request("ListKeys", &json!({})).bytes());
        println!("a newcomer from {from} was served after {took:?}");
        assert_eq!(answer.status, 200);
        assert!(took < AT_ONCE, "served only after {took:?}");
    }
}

/// Asks again and again on each of the connections, and comes back where one was closed, while `meanwhile` runs.
fn besieged<T>(server: &Server, from: IpAddr, request: &[u8], meanwhile: impl FnOnce() -> T) -> T {
    let over = std::sync::atomic::AtomicBool::new(false);
    let open = || Connection::open_from(from, server.address());
    let mut crowd: Vec<_> = (0..CONNECTIONS).map(|_| open()).collect();
    for connection in &mut crowd {
        connection.try_send(request);
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for connection in &mut crowd {
                    if !connection.try_send(request) {
                        *connection = open();
                        connection.try_send(request);
                    }
                }
                thread::sleep(Duration::from_millis(500));
            }
        });
        // They have been there for a while, and asked more than once.
        thread::sleep(Duration::from_millis(1_500));
        let done = meanwhile();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    })
}

#[test]
fn connections_that_ask_for_health_again_and_again_keep_nobody_out() {
    let server = full_house(CONNECTIONS);
    let health = get(&server, "/healthz");
    besieged(&server, home(1), &health, || assert_let_in(&server, home(1)));
}

#[test]
fn calls_that_prove_nothing_keep_nobody_out() {
    let server = full_house(CONNECTIONS);
    let mut unsigned = server.request("ListKeys", &json!({}));
    unsigned.headers.retain(|(name, _)| name != "Authorization");
    besieged(&server, home(1), &unsigned.bytes(), || assert_let_in(&server, home(1)));
}

#[test]
fn bodies_that_do_not_come_keep_nobody_out() {
    let server = full_house(CONNECTIONS);
    let bytes = server.request("ListKeys", &json!({})).bytes();
    let withheld = || {
        let mut connection = Connection::open(server.address());
        connection.send(&bytes[..bytes.len() - 1]);
        connection
    };
    let crowd: Vec<_> = (0..CONNECTIONS).map(|_| withheld()).collect();
    thread::sleep(Duration::from_millis(1_500));
    assert_let_in(&server, home(1));
    drop(crowd);
}

#[test]
fn who_takes_more_than_a_share_makes_room_for_others_at_once() {
    let server = full_house(CONNECTIONS);
    for _ in 0..3 {
        let crowd: Vec<_> = (0..2 * CONNECTIONS).map(|_| Connection::open_from(home(2), server.address())).collect();
        assert_let_in(&server, home(3));
        drop(crowd);
    }
}

#[test]
fn one_address_may_have_every_seat_if_nobody_else_wants_one() {
    let server = full_house(CONNECTIONS);
    let request = server.request("ListKeys", &json!({})).bytes();
    let mut seated: Vec<_> = (0..CONNECTIONS - CONNECTIONS / 8).map(|_| Connection::open(server.address())).collect();
    for _ in 0..3 {
        for connection in &mut seated {
            assert_eq!(connection.send(&request).answer().status, 200);
        }
    }
}

/// All seats are taken by calls that take long and are proved; so no room can be made. A call that comes waits.
#[test]
fn a_probe_gets_in_while_all_seats_are_busy() {
    let (mut server, hsm) = with_faults(Server::new().with("STRONGROOM__LIMITS__CONNECTIONS", 16));
    server.start();
    // Held, so that none is done before the others have come.
    hsm.rule(Rule::on("C_GenerateKeyPair").hang());
    let slow = json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"});
    let mut busy: Vec<_> = (0..14).map(|_| Connection::open(server.address())).collect();
    let known = server.request("ListKeys", &json!({})).bytes();
    for connection in &mut busy {
        assert_eq!(connection.send(&known).answer().status, 200);
    }
    let slow = server.request("CreateKey", &slow).bytes();
    for connection in &mut busy {
        connection.send(&slow);
    }
    let silent = [(); 4].map(|()| Connection::open(server.address()));
    let mut waiting = [(); 4].map(|()| Connection::open(server.address()));
    for connection in &mut waiting {
        connection.send(&known);
    }
    for path in ["/healthz", "/readyz", "/metrics"].repeat(3) {
        let (answer, took) = newcomer(server.address(), home(1), &get(&server, path));
        println!("{path} was answered after {took:?}");
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
        assert!(took < AT_ONCE, "{path}: answered only after {took:?}");
    }
    drop(silent);
    // Whoever gave way was told to come again.
    let gave_way = waiting.iter_mut().filter_map(Connection::try_answer).filter(|answer| answer.status == 503);
    let gave_way: Vec<_> = gave_way.collect();
    assert!(!gave_way.is_empty(), "nobody gave way");
    assert!(gave_way.iter().all(|answer| answer.exception() == "ServiceUnavailableException"));
    hsm.clear();
    drop(busy);
    assert!(within(Duration::from_secs(60), || server.call("ListKeys", &json!({})).status == 200));
}

#[test]
fn a_regular_that_is_at_work_stays() {
    let server = full_house(CONNECTIONS);
    let call = server.request("ListKeys", &json!({})).bytes();
    let mut regular = Connection::open(server.address());
    let request = Request { version: "HTTP/1.1", headers: vec![("Host".into(), "x".into())], body: Vec::new() };
    let flood = request.head().replace("POST / ", "GET /healthz ").into_bytes();
    besieged(&server, home(1), &flood, || {
        for _ in 0..20 {
            assert_eq!(regular.send(&call).answer().status, 200);
            thread::sleep(Duration::from_millis(100));
        }
    });
}
