//! A request body as JSON, borrowed from the bytes received: secrets in it are not copied, and AWS's type errors can be
//! told from a value, which typed deserialisation could not.
//!
//! Members that the operation does not know are checked for their syntax and not kept, so they cost no memory.
//!
//! A name twice in one object is refused, although AWS's reader is thought to take the last: whoever reads the request on its
//! way, a proxy or a log, may take the first. So are a pair of an encryption context without a name or a value, which binds to
//! nothing that anybody relies on, and a member of grant constraints that is not known here.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Code, KmsError};

/// The most values of one request, those in lists and maps included. The largest that mean something are encryption
/// contexts of ReEncrypt, two of 910 pairs at most; of 8,192 the memory is less than that of the longest body.
const MAX_VALUES: usize = 8192;

/// A JSON value. Not `Debug`: it may hold a plaintext.
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; AWS truncates decimals toward zero where it wants an integer.
    Number(f64),
    /// A string, borrowed unless it has escapes.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object: no name is in it twice.
    Map(BTreeMap<Cow<'a, str>, Json<'a>>),
}

impl<'a> Json<'a> {
    /// The member of a structure; absent and `null` are the same.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.get(name).filter(|value| !matches!(value, Self::Null))
    }
}

/// A request body: one JSON object, of which the members that its operation knows are kept.
#[derive(Default)]
pub struct Object<'a>(Vec<(&'static str, Json<'a>)>);

impl<'a> Object<'a> {
    /// Reads `body`, of which the members called `known` are kept.
    ///
    /// # Errors
    /// `SerializationException`, without a message but for a list, as AWS answers it; for a name that is twice in one
    /// object, too: readers of JSON differ on which of the two counts. `ValidationException` for more values than any
    /// request has.
    pub fn read(body: &'a [u8], known: &'static [&'static str]) -> Result<Self, KmsError> {
        let left = Cell::new(MAX_VALUES + 1);
        Self::parse(body, Reader { known, left: &left }).map_err(|refused| match (refused, left.get()) {
            (_, 0) => KmsError::invalid(format!("The request has more than {MAX_VALUES} values.")),
            (JsonError::IsList, _) => {
                KmsError::new(Code::SerializationException, "Start of list found where not expected")
            }
            (JsonError::NotJson, _) => KmsError::bare(Code::SerializationException),
        })
    }

    fn parse(body: &'a [u8], reader: Reader<'_>) -> Result<Self, JsonError> {
        // What is skipped is not looked at closely: that all is UTF-8 is found out here.
        let text = str::from_utf8(body).map_err(|_| JsonError::NotJson)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize(&mut json).map_err(|_| JsonError::NotJson)?;
        json.end().map_err(|_| JsonError::NotJson)?;
        read.ok_or(JsonError::IsList)
    }

    /// The member of that name; absent and `null` are the same.
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        (!matches!(value, Json::Null)).then_some(value)
    }
}

enum JsonError {
    IsList,
    NotJson,
}

/// Reads the body itself; `None` for a list.
#[derive(Clone, Copy)]
struct Reader<'c> {
    known: &'static [&'static str],
    left: &'c Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Option<Object<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Option<Object<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut read: Vec<(&str, Json<'_>)> = Vec::new();
        while let Some(name) = members.next_key_seed(OneOf(self.known))? {
            let Some(name) = name else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if read.iter().any(|(earlier, _)| *earlier == name) {
                return Err(twice());
            }
            read.push((name, members.next_value_seed(BoundedValue(self.left))?));
        }
        Ok(Some(Object(read)))
    }
}

fn twice<E: Error>() -> E {
    E::custom("a name is in one object twice")
}

/// Reads a name; `None` for one that is not known.
struct OneOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|known| **known == name).copied())
    }
}

/// Reads one value, and counts it and those in it down from what is left.
#[derive(Clone, Copy)]
struct BoundedValue<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for BoundedValue<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        self.0.set(self.0.get() - 1);
        match self.0.get() {
            0 => Err(D::Error::custom("too many values")),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for BoundedValue<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(Name(name)) = members.next_key()? {
            let value = members.next_value_seed(self)?;
            match map.entry(name) {
                Entry::Vacant(free) => free.insert(value),
                Entry::Occupied(_) => return Err(twice()),
            };
        }
        Ok(Json::Map(map))
    }
}

/// A member's name, borrowed unless it has escapes. (`Cow` itself always copies.)
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "b", "c"];

    fn refusal(body: &[u8]) -> String {
        Object::read(body, KNOWN).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_an_object_is_a_body() {
        for body in [&b""[..], b"null", b"1", b"\"x\"", b"{", b"{\"a\":1,}", b"{} x", b"{\"a\":\xff}", b"[", b"[1,]"] {
            assert_eq!(refusal(body), "SerializationException");
        }
        assert_eq!(refusal(b"[]"), "SerializationException: Start of list found where not expected");
        let deep = [&b"{\"a\":"[..], &b"[".repeat(100_000)].concat();
        assert_eq!(refusal(&deep), "SerializationException");
    }

    #[test]
    fn null_is_absent() {
        let body = Object::read(br#"{"a":"x","b":null}"#, KNOWN).unwrap_or_default();
        assert!(matches!(body.member("a"), Some(Json::Text(text)) if text == "x"));
        assert!(body.member("b").is_none());
        assert!(body.member("c").is_none());
    }

    #[test]
    fn a_name_twice_is_refused_wherever_it_is_known() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":null,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":{"k":"x","k":"y"}}"#,
            r#"{"a":[{"k":{"l":1,"l":null}}]}"#,
        ] {
            assert_eq!(refusal(body.as_bytes()), "SerializationException", "{body}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_kept_and_is_json_all_the_same() {
        let body = Object::read(br#"{"x":[{"y":1,"y":[2]}],"x":7,"a":true,"":null}"#, KNOWN).unwrap_or_default();
        assert!(matches!(body.0[..], [("a", Json::Bool(true))]));
        for body in [
            &b"{\"x\":[1,]}"[..],
            b"{\"x\":\"\xff\"}",
            b"{\"x\":\"\n\"}",
            b"{\"x\":tru}",
            b"{\"x\":[}",
            b"{\"\xff\":1}",
        ] {
            assert_eq!(refusal(body), "SerializationException", "{}", body.escape_ascii());
        }
    }

    #[test]
    fn values_have_a_bound_and_those_of_no_member_are_not_counted() {
        let zeros = |name: &str, n| format!("{{\"{name}\":[{}]}}", vec!["0"; n].join(","));
        assert_eq!(refusal(zeros("a", MAX_VALUES - 1).as_bytes()), "");
        let many = "ValidationException: The request has more than 8192 values.";
        assert_eq!(refusal(zeros("a", MAX_VALUES).as_bytes()), many);
        assert_eq!(refusal(zeros("x", 500_000).as_bytes()), "");
    }
}
