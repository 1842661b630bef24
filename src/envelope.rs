//! The ciphertext blob of a symmetric key: `docs/ciphertext-format.md`.
//!
//! The header names the key and the material, so Decrypt needs no KeyId and rotation needs no trial decryption. The
//! header's bytes are part of the additional authenticated data: a blob cannot be re-bound to another key.

use crate::key::{context::EncryptionContext, material::MaterialId, reference::KeyId};

const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
const HEADER_BYTES: usize = 51;
const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The names in a blob: which key, which of its materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The KMS key.
    pub key: KeyId,
    /// The material of that key.
    pub material: MaterialId,
}

/// A blob, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The key and the material that it names.
    pub header: Header,
    /// The 96-bit IV.
    pub iv: [u8; IV_BYTES],
    /// Ciphertext and 128-bit tag.
    pub ciphertext: Vec<u8>,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let (multi_region, key) = self.key.to_parts();
        let mut bytes = [0; HEADER_BYTES];
        bytes[..3].copy_from_slice(&[VERSION, AES_256_GCM, u8::from(multi_region)]);
        bytes[3..19].copy_from_slice(&key);
        bytes[19..].copy_from_slice(&self.material.0);
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (fixed, names) = bytes.split_first_chunk::<3>()?;
        let (key, material) = names.split_first_chunk::<16>()?;
        let multi_region = match fixed {
            [VERSION, AES_256_GCM, 0] => false,
            [VERSION, AES_256_GCM, 1] => true,
            _ => return None,
        };
        let material = MaterialId(material.try_into().ok()?);
        Some(Self { key: KeyId::from_parts(multi_region, *key), material })
    }

    /// The additional authenticated data: the header, then the canonical encryption context.
    pub fn aad(self, context: &EncryptionContext) -> Vec<u8> {
        let mut aad = self.to_bytes().to_vec();
        context.write_canonical(&mut aad);
        aad
    }
}

impl Envelope {
    /// The blob.
    pub fn encode(&self) -> Vec<u8> {
        [&self.header.to_bytes()[..], &self.iv, &self.ciphertext].concat()
    }

    /// Takes a blob apart; `None` for anything that [`Self::encode`] does not write.
    pub fn decode(blob: &[u8]) -> Option<Self> {
        let (header, rest) = blob.split_first_chunk::<HEADER_BYTES>()?;
        let (iv, ciphertext) = rest.split_first_chunk::<IV_BYTES>()?;
        // A plaintext has at least one byte.
        if ciphertext.len() <= TAG_BYTES {
            return None;
        }
        Some(Self { header: Header::from_bytes(header)?, iv: *iv, ciphertext: ciphertext.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        let key = KeyId::parse("1234abcd-12ab-34cd-56ef-1234567890ab").expect("an id");
        let header = Header { key, material: MaterialId([7; 32]) };
        Envelope { header, iv: [9; 12], ciphertext: vec![5; 17] }
    }

    #[test]
    fn a_blob_goes_both_ways_and_adds_79_bytes() {
        let blob = envelope().encode();
        assert_eq!(blob.len(), 1 + 79);
        assert_eq!(Envelope::decode(&blob), Some(envelope()));
    }

    #[test]
    fn a_blob_of_a_multi_region_key_goes_both_ways() {
        let header = Header { key: KeyId::from_parts(true, [3; 16]), ..envelope().header };
        let envelope = Envelope { header, ..envelope() };
        assert_eq!(Envelope::decode(&envelope.encode()), Some(envelope));
    }

    #[test]
    fn every_flipped_header_byte_is_refused_or_authenticated() {
        let blob = envelope().encode();
        let aad = envelope().header.aad(&EncryptionContext::default());
        for i in 0..HEADER_BYTES {
            let mut bad = blob.clone();
            bad[i] ^= 1;
            let decoded = Envelope::decode(&bad);
            assert!(decoded.is_none_or(|e| e.header.aad(&EncryptionContext::default()) != aad), "byte {i}");
        }
    }

    #[test]
    fn a_cut_blob_is_refused() {
        let blob = envelope().encode();
        for length in 0..blob.len() {
            assert_eq!(Envelope::decode(&blob[..length]), None, "{length}");
        }
    }
}
