//! The bytes around an answer, which are AWS's: names of headers letter for letter, in their order, on success and error; and
//! what browsers are told.

use std::io::{BufRead, Read};

use serde_json::json;

use crate::{
    server::Server,
    wire::{Connection, Request},
};

const PAGE: &str = "https://console.example.com";

/// What is answered, as it came. The id and the date stand for themselves.
fn answer(server: &Server, request: &[u8]) -> String {
    let mut connection = Connection::open(server.address());
    connection.send(request);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        assert!(connection.0.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    connection.0.read_exact(&mut body).unwrap();
    text.push_str(&String::from_utf8(body).unwrap());
    masked(&text)
}

fn masked(text: &str) -> String {
    let mask = |line: &str| match line.split_once(": ") {
        Some(("x-amzn-RequestId", id)) if uuid::Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id) => {
            "x-amzn-RequestId: ID".to_owned()
        }
        Some(("Date", date)) if date.len() == 29 && date.ends_with(" GMT") => "Date: DATE".to_owned(),
        _ => line.to_owned(),
    };
    text.split("\r\n").map(mask).collect::<Vec<_>>().join("\n")
}

fn as_aws(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\nx-amzn-RequestId: ID\nCache-Control: no-cache, no-store, must-revalidate, private\nExpires: 0\n\
         Pragma: no-cache\nContent-Type: application/x-amz-json-1.1\nContent-Length: {length}\nDate: DATE\n\n{body}"
    )
}

#[test]
fn answers_are_awss_letter_for_letter() {
    let server = Server::shared();
    let listed = answer(&server, &server.request("ListKeyPolicies", &json!({"KeyId": server.new_key()})).bytes());
    assert_eq!(listed, as_aws("200 OK", r#"{"PolicyNames":["default"],"Truncated":false}"#));
    let empty = answer(&server, &server.request("DisableKey", &json!({"KeyId": server.new_key()})).bytes());
    assert_eq!(empty, as_aws("200 OK", ""));
    let refused = answer(&server, &server.request("DescribeKey", &json!({"KeyId": "foo"})).bytes());
    assert_eq!(refused, as_aws("400 Bad Request", r#"{"__type":"NotFoundException","message":"Invalid keyId 'foo'"}"#));
    let mut unsigned = server.request("ListKeys", &json!({}));
    unsigned.headers.retain(|(name, _)| name != "Authorization");
    let body = r#"{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}"#;
    assert_eq!(answer(&server, &unsigned.bytes()), as_aws("400 Bad Request", body));
    let unread = answer(&server, b"POST / HTTP/1.1\r\n\r\n");
    assert_eq!(unread, "HTTP/1.1 400 Bad Request\nConnection: close\nContent-Length: 0\nDate: DATE\n\n");
}

#[test]
fn pages_of_allowed_origins_may_call_and_no_others() {
    let mut server = Server::new().with("STRONGROOM__ALLOWED_ORIGINS", PAGE);
    server.start();
    let preflight = |origin: &str| {
        let asked = "Access-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization,content-type,x-amz-date,x-amz-target";
        let host = server.address();
        answer(&server, format!("OPTIONS / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n{asked}\r\n\r\n").as_bytes())
    };
    let shared = format!(
        "Vary: Origin\nAccess-Control-Allow-Origin: {PAGE}\n\
         Access-Control-Expose-Headers: x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date\n"
    );
    let expected = format!(
        "HTTP/1.1 200 OK\nAccess-Control-Allow-Headers: authorization,content-type,x-amz-date,x-amz-target\n\
         Access-Control-Allow-Methods: POST\nAccess-Control-Max-Age: 172800\n{shared}Content-Length: 0\nDate: DATE\n\n"
    );
    assert_eq!(preflight(PAGE), expected);
    assert!(preflight("https://other.example.com").starts_with("HTTP/1.1 405 Method Not Allowed\nAllow: POST\n"));

    let call = |origin: &str, request: Request| answer(&server, &request.with("Origin", origin).bytes());
    let list = || server.request("ListKeys", &json!({}));
    assert!(call(PAGE, list()).starts_with("HTTP/1.1 200 OK\n") && call(PAGE, list()).contains(&shared));
    let refused = call(PAGE, server.request("DescribeKey", &json!({})));
    assert!(refused.starts_with("HTTP/1.1 400 Bad Request\n") && refused.contains(&shared), "{refused}");
    let other = call("https://other.example.com", list());
    assert!(other.starts_with("HTTP/1.1 200 OK\n") && !other.contains("Access-Control"), "{other}");
    assert!(!answer(&server, &list().bytes()).contains("Access-Control"));
}
