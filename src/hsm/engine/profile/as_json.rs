//! A profile as JSON, for formats that cannot have it in its own form. For `#[serde(with = "as_json")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::Profile;

pub(in crate::hsm) fn serialize<S: Serializer>(profile: &Profile, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::to_string(profile).map_err(ser::Error::custom)?.serialize(serializer)
}

pub(in crate::hsm) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Profile, D::Error> {
    Profile::from_json(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}
