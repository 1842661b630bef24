//! Values that must never be seen: PINs, plaintexts, data keys, access-key secrets.
//!
//! Neither type has `Debug` or `Display`, so a structure that holds one cannot be printed by accident; both are
//! overwritten with zeros when dropped. Reading is asked for by name: `expose`.

use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Secret bytes: a plaintext, a data key, random bytes that a caller asked for.
pub struct SecretBytes(SecretBox<Vec<u8>>);

impl SecretBytes {
    /// The bytes themselves; the caller must not copy them into anything that is not a secret.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Length in bytes, which is not secret.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

/// Takes ownership of the buffer itself: nothing is copied, so nothing is left behind.
impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }
}

/// A copy is a second secret, zeroised on its own.
impl Clone for SecretBytes {
    fn clone(&self) -> Self {
        Self::from(self.expose().to_vec())
    }
}

/// Bytes to another process of ours. There is no form that people read, so no secret gets into a document or a log.
impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => Err(ser::Error::custom("a secret is not written where people read")),
            false => serializer.serialize_bytes(self.expose()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => Err(de::Error::custom("a secret is not read where people write")),
            false => <&[u8]>::deserialize(deserializer).map(|bytes| Self::from(bytes.to_vec())),
        }
    }
}

/// Secret text: a PIN, the secret of an access key.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
