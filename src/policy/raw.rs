//! A policy document as JSON, and nothing else: unknown members, members twice, `null`, empty lists and structures
//! written as arrays are errors.
//!
//! Depth is bounded by the types. Optional members are read by `given`: serde's own rule takes `null` for absent.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, expecting = "a policy document")]
#[expect(dead_code, reason = "version and id are checked and then have no influence")]
pub(super) struct RawDocument {
    #[serde(default, deserialize_with = "given")]
    version: Option<Version>,
    #[serde(default, deserialize_with = "given")]
    id: Option<PolicyString>,
    pub(super) statement: Many<RawStatement>,
}

impl RawDocument {
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str::<Single<Self>>(text).map(|Single(document)| document)
    }
}

/// A text of a policy. A control character, which only an escape can bring in, has no meaning in any and would be told as it
/// is wherever the text is.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PolicyString(pub(super) String);

impl TryFrom<String> for PolicyString {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(format!("the character {} is not allowed", c.escape_unicode())),
            None => Ok(Self(text)),
        }
    }
}

/// A version that there is. Versions differ in policy variables only, and those are refused in both.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Version;

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "2008-10-17" | "2012-10-17" => Ok(Self),
            _ => Err(format!("there is no version `{text}`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, expecting = "a statement")]
#[expect(dead_code, reason = "a statement's id has no influence, and no condition is ever read")]
pub(super) struct RawStatement {
    #[serde(default, deserialize_with = "given")]
    sid: Option<PolicyString>,
    pub(super) effect: Effect,
    #[serde(default, deserialize_with = "principal")]
    pub(super) principal: Option<RawPrincipal>,
    #[serde(default, deserialize_with = "principal")]
    pub(super) not_principal: Option<RawPrincipal>,
    #[serde(default, deserialize_with = "given")]
    pub(super) action: Option<Many<PolicyString>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) not_action: Option<Many<PolicyString>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) resource: Option<Many<PolicyString>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) not_resource: Option<Many<PolicyString>>,
    #[serde(default, deserialize_with = "given")]
    condition: Option<RawCondition>,
}

/// Read from a string: serde's own enums would take `{"Allow": null}`, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Effect {
    Allow,
    Deny,
}

impl TryFrom<String> for Effect {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "Allow" => Ok(Self::Allow),
            "Deny" => Ok(Self::Deny),
            _ => Err(format!("the effect `{text}` is neither `Allow` nor `Deny`")),
        }
    }
}

fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A `Condition`, whatever is in it: an Allow without its condition would allow too much.
struct RawCondition;

impl<'de> Deserialize<'de> for RawCondition {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("conditions are not supported yet"))
    }
}

/// `"*"`, which is `{"AWS": "*"}`, or principals by their type.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrincipal {
    #[serde(default, rename = "AWS", deserialize_with = "given")]
    pub(super) aws: Option<Many<PolicyString>>,
    #[serde(default, rename = "Service", deserialize_with = "given")]
    pub(super) service: Option<Many<PolicyString>>,
    #[serde(default, rename = "Federated", deserialize_with = "given")]
    pub(super) federated: Option<Many<PolicyString>>,
    #[serde(default, rename = "CanonicalUser", deserialize_with = "given")]
    pub(super) canonical_user: Option<Many<PolicyString>>,
}

fn principal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawPrincipal>, D::Error> {
    struct EveryoneOrTypes;

    impl<'de> Visitor<'de> for EveryoneOrTypes {
        type Value = RawPrincipal;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`*` or an object of principals")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<RawPrincipal, E> {
            if text != "*" {
                return Err(E::invalid_value(Unexpected::Str(text), &self));
            }
            Ok(RawPrincipal { aws: Some(Many(vec![PolicyString(text.to_owned())])), ..RawPrincipal::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPrincipal, A::Error> {
            RawPrincipal::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(EveryoneOrTypes).map(Some)
}

/// A string or an object, never an array: serde's derived structures would take their members in an array, too.
struct Single<T>(T);

/// One, or an array of at least one.
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Single<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SingleVisitor(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(SingleVisitor(PhantomData))).map(Self)
    }
}

struct SingleVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SingleVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object, as its place demands")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::deserialize(text.into_deserializer())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct ManyVisitor<T>(SingleVisitor<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or an array of at least one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        self.0.visit_str(text).map(|one| vec![one])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        self.0.visit_map(map).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(Single(value)) = array.next_element()? {
            all.push(value);
        }
        if all.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(all) }
    }
}
