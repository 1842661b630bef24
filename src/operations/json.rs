//! A request body as JSON, borrowed from the bytes received: secrets in it are not copied, and AWS's type errors can be
//! told from a value, which typed deserialisation could not.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{Code, KmsError};

/// A JSON value. Not `Debug`: it may hold a plaintext.
pub enum Json<'a> {
    /// `null`: the same as absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; AWS truncates decimals toward zero where it wants an integer.
    Number(f64),
    /// A string, borrowed unless it has escapes.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object; of two members with one name the last counts.
    Map(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a request body: one JSON object.
    ///
    /// # Errors
    /// `SerializationException`, without a message but for a list, as AWS answers it.
    pub fn object(body: &'a [u8]) -> Result<Self, KmsError> {
        match serde_json::from_slice(body) {
            Ok(object @ Self::Map(_)) => Ok(object),
            Ok(Self::List(_)) => {
                Err(KmsError::new(Code::SerializationException, "Start of list found where not expected"))
            }
            Ok(_) | Err(_) => Err(KmsError::bare(Code::SerializationException)),
        }
    }

    /// The member of an object; absent and `null` are the same.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        let (_, value) = members.iter().rev().find(|(key, _)| key == name)?;
        (!matches!(value, Self::Null)).then_some(value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            map.push((name, value));
        }
        Ok(Json::Map(map))
    }
}

/// A member's name, borrowed unless it has escapes. (`Cow` itself always copies.)
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(serde::de::Error::custom("a member's name is a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> String {
        Json::object(body).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_an_object_is_a_body() {
        for body in [&b""[..], b"null", b"1", b"\"x\"", b"{", b"{\"a\":1,}", b"{} x", b"{\"a\":\xff}"] {
            assert_eq!(refusal(body), "SerializationException");
        }
        assert_eq!(refusal(b"[]"), "SerializationException: Start of list found where not expected");
        let deep = [&b"{\"a\":"[..], &b"[".repeat(100_000)].concat();
        assert_eq!(refusal(&deep), "SerializationException");
    }

    #[test]
    fn the_last_of_two_members_counts_and_null_is_absent() {
        let body = Json::object(br#"{"a":1,"a":"x","b":null}"#).unwrap_or(Json::Null);
        assert!(matches!(body.member("a"), Some(Json::Text(text)) if text == "x"));
        assert!(body.member("b").is_none());
        assert!(body.member("c").is_none());
    }
}
