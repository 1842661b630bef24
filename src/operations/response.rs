//! Parts of responses.

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use crate::{clock::Timestamp, secret::SecretBytes};

/// The response of an operation that has none: an empty body.
#[derive(Serialize)]
pub struct NoResponse;

/// The response of an operation whose response has no members: an empty object.
#[derive(Serialize)]
pub struct EmptyResponse {}

/// Bytes as base64, written into the body without a copy.
pub struct Base64<T>(pub T);

/// A value whose bytes a response may have.
pub trait ResponseBytes {
    /// The bytes.
    fn response_bytes(&self) -> &[u8];
}

impl ResponseBytes for Vec<u8> {
    fn response_bytes(&self) -> &[u8] {
        self
    }
}

impl ResponseBytes for SecretBytes {
    fn response_bytes(&self) -> &[u8] {
        self.expose()
    }
}

impl<T: ResponseBytes> Serialize for Base64<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0.response_bytes(), &STANDARD))
    }
}

/// A timestamp as AWS writes it: seconds since the epoch, with milliseconds as a fraction.
pub struct EpochSeconds(pub Timestamp);

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.epoch_seconds())
    }
}
