//! Bodies that are long, too long or never end: what they take of memory, and what their clients read.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    seats::home,
    server::{Server, within},
    wire::{Answer, Connection, Request},
};

const MIB: usize = 1 << 20;
const LONGEST: usize = MIB;
const AT_ONCE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);

/// Memory that the server has, in MiB.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// Time that the server's process has had of the processors, in hundredths of a second.
fn worked(server: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
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

/// A call with an unknown member, an array of zeros that makes it so long.
fn zeros(server: &Server, operation: &str, members: &str) -> Request {
    let body = format!("{{{members}\"unknown\":[0{}]}}", ",0".repeat(LONGEST / 2 - 50)).into_bytes();
    Request::signed_bytes(server.address(), &server.administrator(), operation, body)
}

#[test]
fn a_call_that_waits_holds_nothing_of_its_body() {
    const CALLS: usize = 100;
    let mut server = Server::new().with("STRONGROOM__HSM__SESSIONS", 1);
    server.start();
    server.done("ListKeys", &json!({}));
    let bytes = zeros(&server, "CreateKey", r#""KeySpec":"RSA_4096","KeyUsage":"SIGN_VERIFY","#).bytes();
    let before = resident(&server);
    let crowd: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.send(&bytes);
            connection
        })
        .collect();
    let is_answered = |connection: &Connection| {
        connection.0.get_ref().set_nonblocking(true).unwrap();
        connection.0.get_ref().peek(&mut [0]).is_ok()
    };
    // By the time that the first has its key, all have been read.
    let mut most = 0;
    let answered = within(SOON, || {
        most = most.max(resident(&server));
        crowd.iter().any(is_answered)
    });
    let waiting = crowd.iter().filter(|connection| !is_answered(connection)).count();
    println!("{waiting} calls wait whose bodies of zeros had 1 MiB: from {before} to {most} MiB");
    assert!(answered && waiting > CALLS / 2, "only {waiting} wait");
    assert!(most < before + 150, "from {before} to {most} MiB");
    drop(crowd);
}

#[test]
fn who_proves_nothing_does_not_have_long_bodies_read() {
    const STRANGERS: usize = 16;
    let server = Server::started();
    let call = || server.request("GenerateRandom", &json!({"NumberOfBytes": 8})).bytes();
    let mut connection = Connection::open(server.address());
    let mut median = || {
        let mut times: Vec<_> = (0..100)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(connection.send(&call()).answer().status, 200);
                began.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let alone = median();
    let bytes = unsigned(zeros(&server, "ListKeys", "")).bytes();
    let (over, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = worked(&server);
    let beside = thread::scope(|scope| {
        for _ in 0..STRANGERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut connection = Connection::open(server.address());
                    connection.try_send(&bytes);
                    let answered = connection.try_answer().is_some_and(|answer| answer.status == 400);
                    refused.fetch_add(usize::from(answered), Ordering::Relaxed);
                }
            });
        }
        assert!(within(SOON, || refused.load(Ordering::Relaxed) > STRANGERS));
        let beside = median();
        over.store(true, Ordering::Relaxed);
        beside
    });
    let times = refused.load(Ordering::Relaxed);
    let each = (worked(&server) - before) / u32::try_from(times).unwrap();
    println!(
        "a call takes {alone:.1?} (median), and {beside:.1?} beside {STRANGERS} connections that prove nothing with 1 MiB of zeros; \
         each of {times} such calls took {each:.1?} of the processor"
    );
    // To parse such a body takes ten times as long.
    assert!(each < Duration::from_millis(5), "{each:?}");
}
