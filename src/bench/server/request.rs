//! Requests as they go over the wire: signed, with the headers of an SDK's request and no more.

use serde_json::Value;

use crate::{
    clock::{Clock, SystemClock},
    secret::SecretText,
    sigv4::{self, Received, Signer},
};

const USER_AGENT: &str = concat!("strongroom-bench/", env!("CARGO_PKG_VERSION"));

/// The one who signs, and the server that it is for.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// `Host`: name and port of the server.
    pub host: &'a str,
    /// The access key.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a SecretText,
    /// The region.
    pub region: &'a str,
}

impl Sender<'_> {
    /// A request with this body, signed now. It may be sent as often as one likes for five minutes.
    pub fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let (at, target) = (SystemClock.now(), format!("TrentService.{operation}"));
        let date = at.basic_iso8601();
        let headers: [(&str, &str); 5] = [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", self.host),
            ("user-agent", USER_AGENT),
            ("x-amz-date", &date),
            ("x-amz-target", &target),
        ];
        let signed = headers.map(|(name, value)| (name, value.as_bytes()));
        let received = Received { method: "POST", path: "/", query: None, headers: &signed, body: body.as_bytes() };
        let signer = Signer { access_key_id: self.access_key_id, secret: self.secret, region: self.region };
        let authorization = sigv4::sign(&received, &signer, at);
        let mut head =
            format!("POST / HTTP/1.1\r\ncontent-length: {}\r\nauthorization: {authorization}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n" + &body).into_bytes()
    }
}
