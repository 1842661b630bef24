//! Requests as they go over the wire: signed, with the headers of an SDK's request and no more.

use serde_json::Value;
use strongroom::{
    clock::{Clock, SystemClock},
    secret::SecretText,
    sigv4::{self, Received, Signer},
};

/// Who signs, and for which server.
pub struct Sender<'a> {
    pub host: &'a str,
    pub access_key_id: &'a str,
    pub secret: &'a SecretText,
    pub region: &'a str,
}

impl Sender<'_> {
    pub fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let (at, target) = (SystemClock.now(), format!("TrentService.{operation}"));
        let date = at.basic_iso8601();
        let headers: [(&str, &str); 5] = [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", self.host),
            ("user-agent", "aws-sdk-rust/1.3.14 os/linux lang/rust/1.95.0"),
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
