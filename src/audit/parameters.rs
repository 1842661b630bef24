//! The request parameters in an audit record. They are bounded together: a value that exceeds the bound is replaced by a mark, which
//! no value of a request looks like.
//!
//! A record shows what was read of a request and not what was sent: 128 KiB of it, a policy whole, and a mark with length,
//! SHA-256 and beginning for a value without room. Of a caller that nothing proves it shows no parameter, and 96 bytes of each
//! name (`event`).

use std::io;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::event::clean;
use crate::aws_names::lower_camel;

/// The most bytes of JSON for the values of one request. A policy of AWS's 32 KiB fits beside all other members of a request, even
/// if each of its characters needs an escape.
const MAX_BYTES: usize = 128 << 10;
/// The most bytes that a mark repeats of the value it replaces.
const MAX_BEGINNING_BYTES: usize = 256;

/// The members of a request that were read and may be recorded: CloudTrail's `requestParameters`.
#[derive(Debug, Default)]
pub struct RequestParameters {
    values: Value,
    bytes: usize,
}

impl RequestParameters {
    /// Adds the member that is called `name` on the wire, or a mark in its place.
    ///
    /// The mark has CloudTrail's names for it, and of the omitted value the length in bytes, the SHA-256 and the beginning: of a
    /// text as it is, of any other value as JSON without spaces.
    pub fn add(&mut self, name: &str, value: Value) {
        let bytes = self.bytes + json_length(&value);
        let shown = if bytes <= MAX_BYTES {
            self.bytes = bytes;
            value
        } else {
            omitted(&value)
        };
        self.values[lower_camel(name)] = shown;
    }

    /// `requestParameters`: `null` for nothing.
    pub fn as_json(&self) -> &Value {
        &self.values
    }
}

fn omitted(value: &Value) -> Value {
    let json = value.to_string();
    let text = value.as_str().unwrap_or(&json);
    json!({
        "omitted": true,
        "originalSize": text.len(),
        "sha256": sha256(text),
        "beginning": clean(&text[..text.floor_char_boundary(MAX_BEGINNING_BYTES)]),
    })
}

/// In lower-case hexadecimal, as `sha256sum` has it.
fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts the bytes that are written to it.
struct ByteCounter(usize);

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The length of a value as JSON, in bytes. A value that cannot be written as JSON exceeds every bound.
fn json_length(value: &Value) -> usize {
    let mut counter = ByteCounter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX / 2, |()| counter.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[Value]) -> RequestParameters {
        let mut parameters = RequestParameters::default();
        for (n, value) in values.iter().enumerate() {
            parameters.add(&format!("Member{n}"), value.clone());
        }
        parameters
    }

    #[test]
    fn nothing_is_null_and_names_are_cloudtrails() {
        assert_eq!(*of(&[]).as_json(), Value::Null);
        assert_eq!(*of(&[json!("x"), json!([1])]).as_json(), json!({"member0": "x", "member1": [1]}));
    }

    #[test]
    fn what_finds_no_room_leaves_a_mark_and_what_does_is_shown_still() {
        let long = "\n".repeat(MAX_BYTES / 2);
        let shown = of(&[json!("first"), json!(long), json!({"k": "v"})]);
        let [first, mark, last] = ["member0", "member1", "member2"].map(|name| &shown.as_json()[name]);
        assert_eq!((first, last), (&json!("first"), &json!({"k": "v"})));
        assert_eq!((&mark["omitted"], &mark["originalSize"]), (&json!(true), &json!(long.len())));
        assert_eq!(mark["sha256"], sha256(&long));
        assert_eq!(mark["beginning"], " ".repeat(MAX_BEGINNING_BYTES));
    }

    #[test]
    fn a_mark_of_what_is_no_text_is_about_its_json() {
        let list = json!(vec!["é\"".repeat(500); 100]);
        let mark = of(std::slice::from_ref(&list)).as_json()["member0"].clone();
        let json = list.to_string();
        assert_eq!((&mark["originalSize"], mark["sha256"].as_str()), (&json!(json.len()), Some(&*sha256(&json))));
        assert!(json.starts_with(mark["beginning"].as_str().unwrap()));
    }

    #[test]
    fn a_policy_of_the_longest_is_whole_beside_the_longest_of_all_else_that_comes_before_it() {
        let (id, policy) = ("\u{1}".repeat(2048), "\"".repeat(32 << 10));
        assert_eq!(of(&[json!(id), json!(policy)]).as_json()["member1"], policy);
    }

    #[test]
    fn there_is_a_bound() {
        for value in [json!("\u{1}".repeat(30_000)), json!(vec!["\"".repeat(1000); 40])] {
            let shown = of(&vec![value; 14]).as_json().to_string();
            assert!(shown.len() <= MAX_BYTES + 14 * 1024, "{}", shown.len());
        }
    }
}
