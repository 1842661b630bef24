//! Members that are numbers, booleans, times or bytes.
//!
//! A text that is not base64 is not repeated in the SerializationException, although AWS does it: it may be most of a
//! plaintext.

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Faults, Member, Path, string};
use crate::{clock::Timestamp, request::Json, secret::SecretBytes};

/// An integer that the model has from `MIN` to `MAX`, and of which the service takes `LEAST` to `MOST` only.
pub struct Int<const MIN: i64, const MAX: i64, const LEAST: i64 = MIN, const MOST: i64 = MAX>(pub i64);

/// LimitType of lists that AWS cuts at 1,000.
pub type Limit1000 = Int<1, 1000>;
/// Limit of ListAliases.
pub type Limit100 = Int<1, 1000, 1, 100>;
/// Limit of ListResourceTags.
pub type Limit50 = Int<1, 1000, 1, 50>;

impl<const MIN: i64, const MAX: i64, const LEAST: i64, const MOST: i64> Member for Int<MIN, MAX, LEAST, MOST> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::Number(number) = json else { return faults.cannot_be("an Integer", json) };
        // Decimals are cut; the cast saturates and makes zero of what is no number.
        let value = *number as i64;
        let text = value.to_string();
        if value < MIN {
            return faults.constraint(Some(&text), path, format_args!("have value greater than or equal to {MIN}"));
        }
        if value > MAX {
            return faults.constraint(Some(&text), path, format_args!("have value less than or equal to {MAX}"));
        }
        if !(LEAST..=MOST).contains(&value) {
            return faults.invalid(format!("{} must be between {LEAST} and {MOST}", path.name()));
        }
        Some(Self(value))
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

impl Member for bool {
    fn read(json: &Json<'_>, _: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        match json {
            Json::Bool(value) => Some(*value),
            other => faults.cannot_be("a Boolean", other),
        }
    }

    fn shown(&self) -> Option<Value> {
        Some((*self).into())
    }
}

/// A time, as JSON has it: seconds since the epoch.
pub struct Time(pub Timestamp);

impl Member for Time {
    fn read(json: &Json<'_>, _: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        match json {
            // The cast saturates and makes zero of what is no number.
            Json::Number(seconds) => Some(Self(Timestamp::from_ms((seconds * 1000.0) as i64))),
            other => faults.cannot_be("a Timestamp", other),
        }
    }

    /// In seconds, as it came.
    fn shown(&self) -> Option<Value> {
        let ms = self.0.ms();
        Some(if ms % 1000 == 0 { (ms / 1000).into() } else { (ms as f64 / 1000.0).into() })
    }
}

/// Base64 of `MIN` to `MAX` bytes.
pub struct Blob<const MIN: usize, const MAX: usize>(pub SecretBytes);

/// CiphertextType.
pub type Ciphertext = Blob<1, 6144>;

impl<const MIN: usize, const MAX: usize> Member for Blob<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        let bytes = match STANDARD.decode(text) {
            Ok(bytes) => SecretBytes::from(bytes),
            Err(error) => return faults.wrong_type(not_base64(text, &error)),
        };
        if bytes.len() < MIN {
            return faults.constraint(None, path, format_args!("have length greater than or equal to {MIN}"));
        }
        if bytes.len() > MAX {
            return faults.constraint(None, path, format_args!("have length less than or equal to {MAX}"));
        }
        Some(Self(bytes))
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// PlaintextType, which is sensitive.
pub struct Plaintext(pub SecretBytes);

impl Member for Plaintext {
    const IS_SENSITIVE: bool = true;

    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        Blob::<1, 4096>::read(json, path, faults).map(|Blob(bytes)| Self(bytes))
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// AWS repeats the text here; we do not, since it may be most of a plaintext.
fn not_base64(text: &str, error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(_, byte) => {
            format!("The value can not be converted to a Blob: Invalid Base64 character: '{}'", char::from(*byte))
        }
        DecodeError::InvalidLastSymbol(..) => {
            "The value can not be converted to a Blob: Invalid last non-pad Base64 character dectected".to_owned()
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => format!(
            "The value can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but \
             found: {}",
            text.len()
        ),
    }
}
