//! Bodies that are long, too long or never end: what they take of memory, and what their clients read.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    seats::home,
    server::Server,
    wire::{Answer, Connection, Request},
};

const MIB: usize = 1 << 20;
const LONGEST: usize = MIB;
const AT_ONCE: Duration = Duration::from_secs(2);

/// Memory that the server has, in MiB.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// A call with an unknown member that makes it so long.
fn long(server: &Server, length: usize) -> Request {
    let body = format!("{{\"unknown\":\"{}\"}}", "x".repeat(length - 14)).into_bytes();
    Request::signed_bytes(server.address(), &server.administrator(), "ListKeys", body)
}

fn unsigned(mut request: Request) -> Request {
    request.headers.retain(|(name, _)| name != "Authorization");
    request
}

fn refusal(answer: &Answer) -> (u16, String, &str) {
    (answer.status, answer.exception(), &answer.headers["connection"])
}

#[test]
fn who_sends_too_much_gets_to_read_so() {
    let server = Server::shared();
    for length in [LONGEST + 1, 5 * MIB, 64 * MIB] {
        let request = long(&server, length);
        for bytes in [request.bytes(), request.chunked_bytes(64 << 10)] {
            let mut connection = Connection::open(server.address());
            // As clients do that look for an answer only when they have sent everything.
            assert!(connection.try_send(&bytes), "reset within {length} bytes");
            assert_eq!(refusal(&connection.answer()), (413, "RequestEntityTooLargeException".into(), "close"));
            assert!(connection.ends());
        }
    }
}

#[test]
fn who_sends_too_much_slowly_gets_to_read_so() {
    let server = Server::shared();
    let request = long(&server, 5 * MIB);
    for bytes in [request.bytes(), request.chunked_bytes(64 << 10)] {
        let mut connection = Connection::open(server.address());
        for piece in bytes.chunks(bytes.len() / 20) {
            assert!(connection.try_send(piece), "reset");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(refusal(&connection.answer()), (413, "RequestEntityTooLargeException".into(), "close"));
    }
}

#[test]
fn too_long_is_said_as_soon_as_it_is_known() {
    let server = Server::shared();
    let head = long(&server, MIB).with("Content-Length", 5 * MIB).head();
    let mut connection = Connection::open(server.address());
    let began = Instant::now();
    assert_eq!(connection.send(head.as_bytes()).answer().status, 413);
    assert!(began.elapsed() < AT_ONCE);
}

/// What such a call is answered with a short body, it is answered with a long one that is not read.
#[test]
fn a_long_body_is_not_read_of_whom_nothing_vouches_for() {
    let server = Server::shared();
    let call = long(&server, LONGEST);
    let with = |name: &str, value: &str| {
        let mut request = call.clone();
        request.headers.iter_mut().filter(|(header, _)| header == name).for_each(|header| header.1 = value.to_owned());
        request
    };
    let authorization = &call.headers.iter().find(|(name, _)| name == "Authorization").unwrap().1;
    let stranger = authorization.replace(&server.administrator().id, "AKIASTRANGER");
    for (request, exception) in [
        (unsigned(call.clone()), "MissingAuthenticationTokenException"),
        (with("Authorization", "Basic YTpi"), "IncompleteSignatureException"),
        (with("Authorization", &stranger), "UnrecognizedClientException"),
        (with("X-Amz-Date", "20200101T000000Z"), "InvalidSignatureException"),
        (with("X-Amz-Target", "TrentService.Unheard"), "UnknownOperationException"),
    ] {
        for bytes in [request.bytes(), request.chunked_bytes(8 << 10)] {
            let mut connection = Connection::open(server.address());
            let began = Instant::now();
            // The last byte does not come.
            connection.send(&bytes[..bytes.len() - 8]);
            assert_eq!(refusal(&connection.answer()), (400, exception.into(), "close"));
            assert!(began.elapsed() < AT_ONCE, "{exception}: answered only after {:?}", began.elapsed());
        }
    }
    let record = server.audit().into_iter().rfind(|record| record["errorCode"] == "UnrecognizedClientException");
    assert!(record.unwrap().to_string().contains("AKIASTRANGER"), "the record does not say who it claims to be");
    assert_eq!(Connection::open(server.address()).send(&call.bytes()).answer().status, 200);
}

#[test]
fn a_thousand_bodies_that_do_not_end_take_little_memory() {
    let server = Server::started();
    server.done("ListKeys", &json!({}));
    let bytes = unsigned(long(&server, LONGEST)).bytes();
    let before = resident(&server);
    let crowd: Vec<_> = (0..1000)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.try_send(&bytes[..bytes.len() - 1]);
            connection
        })
        .collect();
    let after = resident(&server);
    println!("1,000 unsigned bodies of 1 MiB that lack their last byte: from {before} to {after} MiB");
    assert!(after < before + 100, "from {before} to {after} MiB");
    assert_eq!(server.call("ListKeys", &json!({})).status, 200);
    drop(crowd);
}

#[test]
fn large_bodies_have_a_budget_and_an_address_a_part_of_it() {
    const BUDGET: usize = 16;
    let mut server = Server::new().with("STRONGROOM__LIMITS__ALL_BODIES_BYTES", BUDGET * MIB);
    server.start();
    server.done("ListKeys", &json!({}));
    let bytes = long(&server, LONGEST).bytes();
    let withheld = |last: u8| {
        let mut connection = Connection::open_from(home(last), server.address());
        connection.try_send(&bytes[..bytes.len() - 1]);
        connection
    };
    let before = resident(&server);
    let mut crowd: Vec<_> = (0..100).map(|n| withheld(2 + n % 10)).collect();
    // What is small waits for nothing, and is served from wherever it comes.
    for last in [1, 2] {
        let began = Instant::now();
        let call = server.request("ListKeys", &json!({})).bytes();
        assert_eq!(Connection::open_from(home(last), server.address()).send(&call).answer().status, 200);
        assert!(began.elapsed() < AT_ONCE, "served only after {:?}", began.elapsed());
    }
    let answers: Vec<_> = crowd.iter_mut().map(|connection| connection.answer()).collect();
    let after = resident(&server);
    println!("100 signed bodies of 1 MiB that lack their last byte: from {before} to {after} MiB");
    assert!(after < before + 4 * BUDGET, "from {before} to {after} MiB");
    let throttled = answers.iter().filter(|answer| answer.exception() == "ThrottlingException").collect::<Vec<_>>();
    assert!(throttled.len() >= 100 - BUDGET, "only {} found no room", throttled.len());
    assert!(throttled.iter().all(|answer| (answer.status, &*answer.headers["connection"]) == (400, "close")));
    drop(crowd);
    // What was taken is given back; and what one address holds, leaves room for another.
    let mut mine: Vec<_> = (0..BUDGET).map(|_| withheld(2)).collect();
    assert_eq!(Connection::open_from(home(3), server.address()).send(&bytes).answer().status, 200);
    let refused =
        mine.iter_mut().map(|held| held.answer().exception()).filter(|said| said == "ThrottlingException").count();
    assert_eq!(refused, BUDGET - BUDGET / 4, "an address may hold a quarter");
}

/// A length that is only announced takes no memory.
#[test]
fn a_buffer_grows_with_what_comes() {
    let server = Server::started();
    server.done("ListKeys", &json!({}));
    let head = long(&server, LONGEST);
    let head = head.clone().with("Content-Length", head.body.len()).head();
    let before = resident(&server);
    let crowd: Vec<_> = (0..16)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.send(head.as_bytes());
            connection
        })
        .collect();
    assert_eq!(server.call("ListKeys", &json!({})).status, 200);
    let after = resident(&server);
    assert!(after < before + 8, "from {before} to {after} MiB");
    drop(crowd);
}
