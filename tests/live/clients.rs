//! Slow, broken and hostile clients on the wire, and what a good client sees meanwhile.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    server::{Server, within},
    wire::{Connection, Request},
};

const TIMEOUT_MS: u64 = 300;
const BODY_BYTES: usize = 8192;
const CONNECTIONS: usize = 8;
/// A timeout has passed by then, on a machine that does much else.
const SOON: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS);

/// A server with little patience.
fn impatient() -> Server {
    let mut server = Server::new()
        .with("STRONGROOM__LIMITS__HEADER_TIMEOUT_MS", TIMEOUT_MS)
        .with("STRONGROOM__LIMITS__BODY_TIMEOUT_MS", TIMEOUT_MS)
        .with("STRONGROOM__LIMITS__BODY_BYTES", BODY_BYTES)
        .with("STRONGROOM__LIMITS__CONNECTIONS", CONNECTIONS);
    server.start();
    server
}

fn assert_served(server: &Server) {
    assert_eq!(server.done("ListKeys", &json!({}))["Truncated"], json!(false));
}

#[track_caller]
fn assert_closed_in_time(connection: Connection) {
    let waited = connection.closed_after();
    assert!(waited < SOON, "closed only after {waited:?}");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = impatient();
    let began = Instant::now();
    assert_closed_in_time(Connection::open(server.address()));
    assert!(began.elapsed() >= TIMEOUT, "closed too early");
    assert_served(&server);
}

#[test]
fn a_connection_that_says_nothing_more_is_closed() {
    let server = impatient();
    let mut connection = Connection::open(server.address());
    connection.send(&server.request("ListKeys", &json!({})).bytes());
    assert_eq!(connection.answer().status, 200);
    assert_closed_in_time(connection);
}

#[test]
fn a_head_that_comes_byte_by_byte_does_not_come_to_its_end() {
    let server = impatient();
    let mut connection = Connection::open(server.address());
    let began = Instant::now();
    for byte in server.request("ListKeys", &json!({})).bytes() {
        if !connection.try_send(&[byte]) || began.elapsed() > SOON {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() < SOON, "every byte bought more time");
    assert_served(&server);
}

#[test]
fn a_body_that_stalls_is_answered_with_a_timeout() {
    let server = impatient();
    let request = server.request("ListKeys", &json!({"Limit": 10}));
    let bytes = request.bytes();
    let mut connection = Connection::open(server.address());
    let began = Instant::now();
    connection.send(&bytes[..bytes.len() - 1]);
    let answer = connection.answer();
    assert!(began.elapsed() >= TIMEOUT && began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!((answer.status, &*answer.exception()), (408, "RequestTimeoutException"));
    assert_eq!(answer.headers["connection"], "close");
    assert!(connection.ends());
    assert_served(&server);
}

#[test]
fn a_body_that_drips_does_not_buy_time() {
    let server = impatient();
    let request = server.request("ListKeys", &json!({"Marker": "m".repeat(300)}));
    let mut connection = Connection::open(server.address());
    let began = Instant::now();
    connection.send(request.clone().with("Content-Length", request.body.len()).head().as_bytes());
    for byte in &request.body {
        if !connection.try_send(&[*byte]) || began.elapsed() > SOON {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() < SOON, "every byte bought more time");
    assert_served(&server);
}

#[test]
fn a_body_of_the_longest_length_is_read_and_one_byte_more_is_refused() {
    let server = impatient();
    let body = |length: usize| format!("{{\"unknown\":\"{}\"}}", "x".repeat(length - 14)).into_bytes();
    let signed = |length| Request::signed_bytes(server.address(), &server.administrator(), "ListKeys", body(length));
    for chunked in [false, true] {
        let send = |request: &Request| {
            let mut connection = Connection::open(server.address());
            connection.send(&if chunked { request.chunked_bytes(1000) } else { request.bytes() });
            (connection.answer(), connection)
        };
        assert_eq!(send(&signed(BODY_BYTES)).0.status, 200, "chunked: {chunked}");
        let (answer, connection) = send(&signed(BODY_BYTES + 1));
        assert_eq!((answer.status, &*answer.exception()), (413, "RequestEntityTooLargeException"));
        assert_eq!(answer.headers["connection"], "close");
        assert!(connection.ends());
    }
}

#[test]
fn an_endless_body_is_cut_off() {
    let server = impatient();
    let request = server.request("ListKeys", &json!({}));
    for framing in [("Content-Length", "1000000000000"), ("Transfer-Encoding", "chunked")] {
        let mut connection = Connection::open(server.address());
        connection.send(request.clone().with(framing.0, framing.1).head().as_bytes());
        let chunk = [b"400\r\n", [b'x'; 1024].as_slice(), b"\r\n"].concat();
        let (mut sent, began) = (0, Instant::now());
        while connection.try_send(&chunk) {
            sent += chunk.len();
            assert!(began.elapsed() < SOON && sent < 512 << 20, "{framing:?}: {sent} bytes were taken");
        }
    }
    assert_served(&server);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = impatient();
    let request = server.request("ListKeys", &json!({}));
    let long = request.clone().with("X-Long", "x".repeat(64 * 1024));
    let many = (0..200).fold(request.clone(), |request, n| request.with(&format!("X-{n}"), n));
    for bad in [long, many] {
        let mut connection = Connection::open(server.address());
        connection.try_send(&bad.bytes());
        assert_eq!(connection.answer().status, 431);
    }
    let fits = request.with("X-Long", "x".repeat(8 * 1024));
    assert_eq!(Connection::open(server.address()).send(&fits.bytes()).answer().status, 200);
}

#[test]
fn at_the_limit_a_good_client_waits_until_idle_ones_are_gone() {
    let server = impatient();
    for _ in 0..3 {
        let began = Instant::now();
        let idle: Vec<_> = (0..CONNECTIONS * 3).map(|_| Connection::open(server.address())).collect();
        assert_served(&server);
        assert!(began.elapsed() >= TIMEOUT, "there was room beyond the limit");
        assert!(began.elapsed() < SOON, "served only after {:?}", began.elapsed());
        drop(idle);
    }
}

#[test]
fn a_client_that_does_not_read_gives_its_room_back() {
    let server = impatient();
    // More answers than the socket buffers of both sides hold.
    let request = Request { version: "HTTP/1.1", headers: vec![("Host".into(), "x".into())], body: Vec::new() };
    let request = request.head().replace("POST / ", "GET /metrics ").into_bytes();
    let greedy: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            // The server reads until it can write no more.
            connection.0.get_ref().set_write_timeout(Some(TIMEOUT)).unwrap();
            while connection.try_send(&request) {}
            connection
        })
        .collect();
    let began = Instant::now();
    assert_served(&server);
    assert!(began.elapsed() < SOON, "served only after {:?}", began.elapsed());
    drop(greedy);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::shared();
    let lengths = [1, 7, 32, 5];
    let requests = lengths.map(|length| server.request("GenerateRandom", &json!({"NumberOfBytes": length})).bytes());
    let mut connection = Connection::open(server.address());
    connection.send(&requests.concat());
    for length in lengths {
        let plaintext = connection.answer().json()["Plaintext"].as_str().unwrap().to_owned();
        assert_eq!(plaintext.len(), (length as usize).div_ceil(3) * 4);
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = Server::shared();
    let mut connection = Connection::open(server.address());
    let answer = connection.send(&server.request("ListKeys", &json!({})).http_1_0().bytes()).answer();
    assert_eq!(answer.status, 200);
    assert!(connection.ends());
}

#[test]
fn expect_100_continue_is_answered() {
    let server = Server::shared();
    let request = server.request("ListKeys", &json!({}));
    let head = request.clone().with("Content-Length", request.body.len()).with("Expect", "100-continue").head();
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.send(head.as_bytes()).answer().status, 100);
    assert_eq!(connection.send(&request.body).answer().status, 200);
}

#[test]
fn two_hundred_requests_go_over_one_connection() {
    let server = Server::shared();
    let key = server.new_key();
    let request = server.request("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="})).bytes();
    let mut connection = Connection::open(server.address());
    let mut ids = Vec::new();
    for _ in 0..200 {
        let answer = connection.send(&request).answer();
        assert_eq!(answer.status, 200);
        ids.push(answer.request_id().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[test]
fn answers_have_the_headers_of_aws() {
    let server = Server::shared();
    let done = server.call("ListKeys", &json!({}));
    let empty = {
        let key = server.new_key();
        server.call("EnableKey", &json!({"KeyId": key}))
    };
    let refused = server.call("DescribeKey", &json!({"KeyId": "00000000-0000-4000-8000-000000000000"}));
    let unsigned = {
        let mut request = server.request("ListKeys", &json!({}));
        request.headers.retain(|(name, _)| name != "Authorization");
        Connection::open(server.address()).send(&request.bytes()).answer()
    };
    assert_eq!(refused.exception(), "NotFoundException");
    assert_eq!(unsigned.exception(), "MissingAuthenticationTokenException");
    assert_eq!(empty.headers["content-length"], "0");
    for (answer, status) in [(done, 200), (empty, 200), (refused, 400), (unsigned, 400)] {
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
        assert_eq!(answer.headers["cache-control"], "no-cache, no-store, must-revalidate, private");
        assert_eq!(uuid::Uuid::parse_str(answer.request_id()).unwrap().to_string(), answer.request_id());
        assert!(!answer.headers.contains_key("x-amzn-errortype"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let date = http_date(&answer.headers["date"]);
        assert!(now.abs_diff(date) <= 2, "{}", answer.headers["date"]);
    }
}

/// Seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> u64 {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(text, format).expect(text);
    date.assume_utc().unix_timestamp().try_into().unwrap()
}

#[test]
fn a_client_that_hangs_up_leaves_an_audit_record_of_what_was_done() {
    let server = Server::started();
    let mark = "nobody waited";
    for n in 0..20 {
        let body = match n % 2 {
            0 => json!({"Description": mark}),
            _ => json!({"Description": mark, "KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}),
        };
        let mut connection = Connection::open(server.address());
        connection.send(&server.request("CreateKey", &body).bytes());
        thread::sleep(Duration::from_micros(500 * n));
    }
    let records = || {
        let created = server.audit().into_iter().filter(|record| record["eventName"] == "CreateKey");
        created.inspect(|record| assert_eq!(record["errorCode"], json!(null))).collect::<Vec<_>>()
    };
    let audited = || records().iter().map(|record| record["resources"][0]["ARN"].clone()).collect::<Vec<_>>();
    let keys = || {
        let listed = server.done("ListKeys", &json!({"Limit": 1000}));
        listed["Keys"].as_array().unwrap().iter().map(|key| key["KeyArn"].clone()).collect::<Vec<_>>()
    };
    // Those whose hanging up was seen first are not done. What is done is written down.
    let sorted = |mut arns: Vec<Value>| {
        arns.sort_by_key(Value::to_string);
        arns
    };
    let settled = || sorted(keys()) == sorted(audited()) && keys().len() > 5;
    assert!(within(Duration::from_secs(20), settled), "{:?}\n{:?}", keys(), audited());
}
