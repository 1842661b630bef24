//! One generation of key bytes, and where the HSM finds it again. The bytes themselves are never here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::custom_store::KeyStoreId;
use super::spec::{KeySpec, KeyUsage};

/// KeyMaterialId: 32 bytes, 64 lower-case hexadecimal digits in the API. Named by every symmetric ciphertext blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaterialId(pub [u8; 32]);

impl fmt::Display for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl MaterialId {
    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        read_hex(text).map(Self)
    }
}

/// 32 bytes from 64 lower-case hexadecimal digits.
pub(super) fn read_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Serialize for MaterialId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MaterialId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// One generation of key bytes of a KMS key (or of the service itself), as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Its name in blobs, answers and the handle cache.
    pub id: MaterialId,
    /// What kind of key it is; decides mechanisms and templates.
    pub spec: KeySpec,
    /// What it may do in the HSM; decides its usage attributes.
    pub usage: KeyUsage,
    /// Where the HSM finds it.
    pub keeping: Keeping,
    /// The public half of a key pair, as DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_base64")]
    pub public_key: Option<Vec<u8>>,
}

impl Material {
    /// The same in a custom key store, which alone says what HSM its keys are in: it may move to another that has them, too.
    #[must_use]
    pub fn found_by(mut self, key_store: Option<&KeyStoreId>) -> Self {
        if let (Some(_), Keeping::Token { member, .. }) = (key_store, &mut self.keeping) {
            *member = None;
        }
        self
    }
}

/// The two ways to keep material, chosen per key store and recorded per material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kept")]
pub enum Keeping {
    /// Made in the HSM, leaves it only wrapped under the wrapping key; unwrapped back into the HSM when used.
    Wrapped {
        /// The wrapped key; for a key pair, its private half (PKCS#8 inside).
        #[serde(with = "base64_bytes")]
        blob: Vec<u8>,
        /// How it was wrapped. The padded AES wrap has two names and, for some lengths, two encodings.
        mechanism: WrapMechanism,
        /// CKA_ID of the wrapping key.
        #[serde(with = "base64_bytes")]
        wrapping_key: Vec<u8>,
    },
    /// A sensitive, non-extractable object on the HSM itself, found by its random CKA_ID.
    Token {
        /// CKA_ID, 16 random bytes.
        #[serde(with = "base64_bytes")]
        cka_id: Vec<u8>,
        /// The HSM that has it, by its name in the configuration; none where it is not known, or there was only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
    },
}

/// The name under which a module offers AES key wrap with padding (RFC 5649).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrapMechanism {
    /// CKM_AES_KEY_WRAP_KWP: RFC 5649.
    AesKeyWrapKwp,
    /// CKM_AES_KEY_WRAP_PAD: RFC 5649 on SoftHSM2 for lengths that are a multiple of 8, PKCS#7 and key wrap on NSS.
    AesKeyWrapPad,
}

/// Bytes as base64 text in stored documents.
pub mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes base64.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

mod optional_base64 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        super::base64_bytes::serialize(bytes.as_deref().unwrap_or_default(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Bytes(#[serde(with = "super::base64_bytes")] Vec<u8>);
        Option::<Bytes>::deserialize(deserializer).map(|bytes| bytes.map(|Bytes(b)| b))
    }
}
