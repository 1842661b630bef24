//! Members that are maps of texts, and a structure that nothing is done with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Faults, Member, Path, inner_required, string, structure,
    text::{Seen, all},
};
use crate::{key::context::EncryptionContext, request::Json};

/// AWS's sentence for a pair that says nothing. What has no name or no value would be bound to nothing that anybody
/// relies on, so it is refused and never dropped.
const INVALID: &str = "Invalid EncryptionContext";

impl Member for EncryptionContext {
    fn read(json: &Json<'_>, _: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::Map(members) = json else { return faults.not_a("map", json) };
        let mut pairs = BTreeMap::new();
        for (name, value) in members {
            let value = if matches!(value, Json::Null) { "" } else { string(value, faults)? };
            if name.is_empty() || value.is_empty() {
                return faults.invalid(INVALID);
            }
            pairs.insert(name.clone().into_owned(), value.to_owned());
        }
        Self::new(pairs).map_or_else(|_| faults.invalid("The encryption context cannot exceed 8192 bytes."), Some)
    }

    fn shown(&self) -> Option<Value> {
        Some(Value::Object(self.pairs().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()))
    }
}

/// XksProxyAuthenticationCredentialType, which nothing is done with. It is repeated to nobody.
pub struct XksCredential;

impl Member for XksCredential {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        structure(json, faults)?;
        let id = inner_required::<XksAccessKeyId>(json, path, "AccessKeyId", faults);
        let secret = inner_required::<XksRawSecret>(json, path, "RawSecretAccessKey", faults);
        id.and(secret).map(|_| Self)
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// Declares texts of a credential: neither kept nor repeated.
macro_rules! secrets {
    ($($name:ident: $min:literal..=$max:literal, $fits:expr, $pattern:literal;)+) => { $(
        struct $name;

        impl Member for $name {
            const IS_SENSITIVE: bool = true;

            fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
                let seen = Seen::sensitive(json, path, faults)?;
                let length = seen.has_length($min, $max, faults);
                length.and(seen.matches($fits, $pattern, faults)).map(|()| Self)
            }

            fn shown(&self) -> Option<Value> {
                None
            }
        }
    )+ };
}

secrets! {
    XksAccessKeyId: 20..=30, |text| all(text, |c| matches!(c, 'A'..='Z' | '2'..='7')), "^[A-Z2-7]+$";
    XksRawSecret: 43..=64, |text| all(text, |c| c.is_ascii_alphanumeric() || "/+=".contains(c)), "^[a-zA-Z0-9\\/+=]+$";
}
