//! What answers are made of.

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use crate::{clock::Timestamp, secret::SecretBytes};

/// The answer of an operation that has none: an empty body.
#[derive(Serialize)]
pub struct Nothing;

/// The answer of an operation whose answer has no members: an empty object.
#[derive(Serialize)]
pub struct Empty {}

/// Bytes as base64, written straight into the body.
pub struct Base64<T>(pub T);

/// Bytes that an answer may show.
pub trait Shown {
    /// The bytes.
    fn shown(&self) -> &[u8];
}

impl Shown for Vec<u8> {
    fn shown(&self) -> &[u8] {
        self
    }
}

impl Shown for SecretBytes {
    fn shown(&self) -> &[u8] {
        self.expose()
    }
}

impl<T: Shown> Serialize for Base64<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0.shown(), &STANDARD))
    }
}

/// A timestamp as AWS answers it: seconds since the epoch, milliseconds as a fraction.
pub struct EpochSeconds(pub Timestamp);

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.epoch_seconds())
    }
}
