//! Members that are maps of texts, and a structure that nothing is done with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Faults, Member, Path, inner_required, string, structure};
use crate::{key::context::EncryptionContext, operations::json::Json};

/// AWS's sentence for a pair that says nothing. What has no name or no value would be bound to nothing that anybody
/// relies on, so it is refused and never dropped.
const INVALID: &str = "Invalid EncryptionContext";

impl Member for EncryptionContext {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::Map(members) = json else { return faults.not_a("map", json) };
        let mut pairs = BTreeMap::new();
        for (name, value) in members {
            let value = if matches!(value, Json::Null) { "" } else { string(value, faults)? };
            if name.is_empty() || value.is_empty() {
                return faults.invalid(INVALID);
            }
            pairs.insert(name.clone().into_owned(), value.to_owned());
        }
        Self::new(pairs).map_or_else(|_| faults.constraint(None, path, "have length less than or equal to 8192"), Some)
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
        let id = inner_required::<Secret<20, 30>>(json, path, "AccessKeyId", faults);
        let secret = inner_required::<Secret<43, 64>>(json, path, "RawSecretAccessKey", faults);
        id.and(secret).map(|_| Self)
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// A text of `MIN` to `MAX` bytes that is neither kept nor repeated.
struct Secret<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Member for Secret<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        match string(json, faults)?.len() {
            short if short < MIN => {
                faults.constraint(None, path, format_args!("have length greater than or equal to {MIN}"))
            }
            long if long > MAX => {
                faults.constraint(None, path, format_args!("have length less than or equal to {MAX}"))
            }
            _ => Some(Self),
        }
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}
