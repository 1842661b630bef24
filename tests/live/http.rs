//! HTTP, strictly: what can be read in two ways is refused, and nothing that follows it is heard.

use serde_json::json;

use crate::{
    server::Server,
    wire::{Connection, Request, chunks},
};

/// A head that is refused, and with which status. `{rest}` are the headers of a call.
const REFUSED: &[(&str, u16)] = &[
    // Where the body ends.
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 5\r\nContent-Length: 2\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 5, 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: +5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 0x5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: -1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length:\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: identity\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: xchunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\n{rest}Transfer-Encoding: chunked\r\n\r\n", 400),
    // Where a line ends.
    ("POST / HTTP/1.1\n{rest}\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: y\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: y\r\n\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: y\rContent-Length: 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: y\r\n folded\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n X: y\r\n{rest}\r\n", 400),
    // What a header is.
    ("POST / HTTP/1.1\r\n{rest}Content-Length : 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X\t: y\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}: y\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}no colon\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: \0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: \x01\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X: \x7f\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}X\0: y\r\n\r\n", 400),
    // Whom it is for.
    ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n{rest}Host: another\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\n{rest}Host: another\r\n\r\n", 400),
    ("POST http://localhost/ HTTP/1.1\r\n{rest}\r\n", 400),
    ("OPTIONS * HTTP/1.1\r\n{rest}\r\n", 400),
    ("CONNECT localhost:80 HTTP/1.1\r\n{rest}\r\n", 400),
    ("POST /#fragment HTTP/1.1\r\n{rest}\r\n", 400),
    ("POST localhost HTTP/1.1\r\n{rest}\r\n", 400),
    // What it is at all.
    ("\r\nPOST / HTTP/1.1\r\n{rest}\r\n", 400),
    ("POST  / HTTP/1.1\r\n{rest}\r\n", 400),
    ("POST\t/ HTTP/1.1\r\n{rest}\r\n", 400),
    ("POST / HTTP/1.1 \r\n{rest}\r\n", 400),
    ("POST / HTTP/2.0\r\n{rest}\r\n", 400),
    ("POST / HTTP/1.2\r\n{rest}\r\n", 400),
    ("POST / http/1.1\r\n{rest}\r\n", 400),
    ("POST /\r\n{rest}\r\n", 400),
    ("P\0ST / HTTP/1.1\r\n{rest}\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    // How long it is.
    ("POST /{8k} HTTP/1.1\r\n{rest}\r\n", 414),
    ("POST / HTTP/1.1\r\n{rest}X: {33k}\r\n\r\n", 431),
    ("POST / HTTP/1.1\r\n{rest}X: {48k}\r\n\r\n", 431),
    ("POST / HTTP/1.1\r\n{rest}{100 headers}\r\n", 431),
];

/// How a body in chunks is refused: it ends before its end.
const REFUSED_CHUNKS: &[&str] = &[
    "2;a=b\r\n{}\r\n0\r\n\r\n",
    "2 \r\n{}\r\n0\r\n\r\n",
    "0x2\r\n{}\r\n0\r\n\r\n",
    "+2\r\n{}\r\n0\r\n\r\n",
    "\r\n",
    "000000002\r\n{}\r\n0\r\n\r\n",
    "2\n{}\r\n0\r\n\r\n",
    "2\r\n{}\n0\r\n\r\n",
    "2\r\n{}0\r\n\r\n",
    "2\r\n{}\r\n0\n\r\n",
    "2\r\n{}\r\n0\r\n\n",
    "2\r\n{}\r\n0\r\nX-Trailer: y\r\n\r\n",
];

fn spelled(head: &str, call: &Request) -> String {
    let rest: String = call.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let long = |kilobytes: usize| "x".repeat(kilobytes << 10);
    let hundred: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    head.replace("{rest}", &rest)
        .replace("{8k}", &long(8))
        .replace("{33k}", &long(33))
        .replace("{48k}", &long(48))
        .replace("{100 headers}", &hundred)
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let server = Server::started();
    let smuggled = server.request("CreateKey", &json!({"Description": "smuggled"})).bytes();
    let call = server.request("ListKeys", &json!({}));
    for (head, status) in REFUSED {
        let bytes = [spelled(head, &call).as_bytes(), &chunks(b"{}", 2), &smuggled].concat();
        // At once, in pieces, and after a request that is answered.
        for size in [bytes.len(), 900] {
            let mut connection = Connection::open(server.address());
            connection.send(&call.bytes());
            for piece in bytes.chunks(size) {
                connection.try_send(piece);
            }
            assert_eq!(connection.answer().status, 200);
            let answer = connection.answer();
            assert_eq!((answer.status, &*answer.headers["connection"]), (*status, "close"), "{head:?}");
            assert!(connection.ends(), "something was heard after {head:?}");
        }
    }
    for body in REFUSED_CHUNKS {
        let head = call.clone().with("Transfer-Encoding", "chunked").head();
        let mut connection = Connection::open(server.address());
        connection.send(&[head.as_bytes(), body.as_bytes(), &smuggled].concat());
        let answer = connection.answer();
        assert_eq!((answer.status, &*answer.exception()), (400, "SerializationException"), "{body:?}");
        assert_eq!(answer.headers["connection"], "close");
        assert!(connection.ends(), "something was heard after {body:?}");
    }
    assert!(!server.audit().into_iter().any(|record| record["eventName"] == "CreateKey"));
    assert_counted(&server);
    assert_eq!(server.call("ListKeys", &json!({})).status, 200);
}

/// In the metrics one by one, in the log in a line now and then.
fn assert_counted(server: &Server) {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let metrics = Connection::open(server.address()).send(request.as_bytes()).answer().body;
    let metrics = String::from_utf8(metrics).unwrap();
    for reason in ["bare_lf", "content_length", "transfer_encoding", "host", "long_head", "request_line"] {
        let counted = format!("strongroom_lost_connections_total{{reason=\"{reason}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&counted)).unwrap_or_else(|| panic!("{metrics}"));
        assert!(count.parse::<u32>().unwrap() >= 2, "{reason}: {count}");
    }
    let told = server.stderr().matches("connections came to nothing").count();
    assert!((1..=3).contains(&told), "{told} lines");
}

#[test]
fn what_clients_say_is_served() {
    let server = Server::shared();
    let call = server.request("ListKeys", &json!({}));
    let long = call.clone().with("X-Long", "x".repeat(31 * 1024 - call.head().len()));
    let cased =
        Request { headers: call.headers.iter().map(|(n, v)| (n.to_uppercase(), v.clone())).collect(), ..call.clone() };
    let mut bare = call.clone().with("X-Empty", "").with("X-Latin", "caf\u{e9}").with("X-Tab", "a\tb");
    bare.headers.rotate_right(1);
    for request in [call.clone(), long, cased, bare] {
        let mut connection = Connection::open(server.address());
        for bytes in [request.bytes(), request.chunked_bytes(1), request.bytes()] {
            let half = bytes.len() / 2;
            assert_eq!(connection.send(&bytes[..half]).send(&bytes[half..]).answer().status, 200);
        }
    }
}
