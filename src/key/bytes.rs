//! Bytes as serde writes them: base64 where people read, as they are elsewhere. For `#[serde(with = "bytes")]`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes bytes.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match serializer.is_human_readable() {
        true => serializer.serialize_str(&STANDARD.encode(bytes)),
        false => serializer.serialize_bytes(bytes),
    }
}

/// Reads bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match deserializer.is_human_readable() {
        true => STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom),
        false => <&[u8]>::deserialize(deserializer).map(<[u8]>::to_vec),
    }
}
