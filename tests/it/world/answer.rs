//! What a call answers, and what every answer is held to.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde_json::Value;
use strongroom::{error::Code, operations::TABLE};

use super::{hex, text};

/// What came back, and what was written down of it.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub records: Vec<Value>,
}

impl Answer {
    /// The body; `null` if it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("a body of JSON") }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether clients of the operation know such an answer.
    pub(super) fn is_one_of(&self, operation: &str) {
        let Some(entry) = TABLE.iter().find(|entry| entry.name == operation).filter(|_| self.status != 200) else {
            return;
        };
        let code = Code::ALL.iter().find(|code| code.as_str() == self.code()).expect("an exception");
        assert!(entry.may_answer(*code), "{operation} does not declare {}", self.text());
    }

    /// Status, `__type` and message of a refusal; an absent message is empty here. The body has nothing else.
    pub fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let body = json.as_object().expect("an exception");
        let code = text(&json, "__type");
        let member = if code == "AccessDeniedException" { "Message" } else { "message" };
        let message = body.get(member).map(|_| text(&json, member));
        assert_eq!(body.len(), 1 + usize::from(message.is_some()), "{json}");
        (self.status, code, message.unwrap_or_default())
    }

    /// The exception, or nothing for an answer that is none.
    pub fn code(&self) -> String {
        if self.status == 200 { String::new() } else { self.refusal().1 }
    }

    /// Exactly one audit record was written, which says the same.
    #[track_caller]
    pub fn is_written_down_as(&self, operation: &str) {
        let [record] = &self.records[..] else { panic!("{operation}: {} audit records", self.records.len()) };
        assert_eq!(record["eventName"], operation);
        assert_eq!(record["requestID"], self.headers["x-amzn-requestid"].to_str().unwrap());
        let code = self.code();
        let error = code.replace("AccessDeniedException", "AccessDenied");
        assert_eq!(record.get("errorCode").and_then(Value::as_str).unwrap_or_default(), error, "{record}");
    }

    /// Neither the record nor the text of an error tells the plaintext that was sent or answered.
    pub(super) fn tells_nothing_of(&self, request: &Value) {
        let sent = request.get("Plaintext").and_then(Value::as_str);
        let answer = if self.status == 200 { self.json() } else { Value::Null };
        let answered = answer.get("Plaintext").and_then(Value::as_str);
        for plaintext in sent.into_iter().chain(answered).filter(|text| text.len() >= 12) {
            assert!(!told(&self.records[0].to_string(), plaintext), "the audit record tells a plaintext");
            assert!(self.status == 200 || !told(&self.text(), plaintext), "an error tells a plaintext");
        }
    }
}

/// Whether `text` has a plaintext that is given in base64: so, as it is, or in hexadecimal.
fn told(text: &str, plaintext: &str) -> bool {
    let bytes = STANDARD.decode(plaintext).unwrap_or_default();
    let raw = String::from_utf8(bytes.clone()).ok().filter(|raw| raw.len() >= 8);
    text.contains(plaintext.trim_end_matches('='))
        || raw.is_some_and(|raw| text.contains(&raw))
        || (bytes.len() >= 8 && text.contains(&hex(&bytes)))
}
