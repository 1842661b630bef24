//! One generation of key bytes, and where the HSM finds it again. The bytes themselves are never here.
//!
//! Ids of material that is made here are random; they name, they prove nothing.

mod forms;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{
    custom_store::KeyStoreId,
    reference::KeyId,
    spec::{KeySpec, KeyUsage},
};

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

    /// The name of imported material: the same for the same material in the same key, and for no other. `fingerprint` is that of
    /// the material.
    pub fn of_imported(key: KeyId, fingerprint: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"strongroom imported material\0").chain_update(key.to_string());
        Self(hash.chain_update(fingerprint).finalize().into())
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

/// As in the API where people read it, else as its bytes.
impl Serialize for MaterialId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MaterialId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Deserialize::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// One generation of key bytes of a KMS key (or of the service itself), as the store keeps it. Stored documents and what is
/// sent to an HSM's worker process each have a form of it: see `forms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// Its name in blobs, answers and the handle cache.
    pub id: MaterialId,
    /// The key spec; decides mechanisms and templates.
    pub spec: KeySpec,
    /// The key usage; decides its usage attributes in the HSM.
    pub usage: KeyUsage,
    /// Where the HSM finds it.
    pub keeping: Keeping,
    /// The public half of a key pair, as DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    pub public_key: Option<Vec<u8>>,
}

impl Material {
    /// Notes which HSM has it, if it is an object on one.
    pub fn note_member(&mut self, name: &str) {
        if let Keeping::Token { member, .. } = &mut self.keeping {
            *member = Some(name.to_owned());
        }
    }

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// Made in the HSM, leaves it only wrapped under the wrapping key; unwrapped back into the HSM when used.
    Wrapped {
        /// The wrapped key; for a key pair, its private half (PKCS#8 inside).
        blob: Vec<u8>,
        /// How it was wrapped. The padded AES wrap has two names and, for some lengths, two encodings.
        mechanism: WrapMechanism,
        /// CKA_ID of the wrapping key.
        wrapping_key: Vec<u8>,
    },
    /// A sensitive, non-extractable object on the HSM itself, found by its random CKA_ID.
    Token {
        /// CKA_ID, 16 random bytes.
        cka_id: Vec<u8>,
        /// The HSM that has it, by its name in the configuration; none where it is not known, or there was only one.
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
