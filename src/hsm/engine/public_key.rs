//! RSA public keys: SubjectPublicKeyInfo in and out, and the two public checks of a ciphertext.

use der::{Decode, Encode, asn1::BitString};
use pkcs1::{ALGORITHM_ID, ALGORITHM_OID, RsaPublicKeyRef, UintRef};
use spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use crate::hsm::error::{HsmError, Kind};

/// Modulus and exponent, big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RsaPublicKey {
    pub(super) modulus: Vec<u8>,
    pub(super) exponent: Vec<u8>,
}

impl RsaPublicKey {
    /// Reads DER SubjectPublicKeyInfo.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, HsmError> {
        let damaged = |_| HsmError::new(Kind::KeyMissing, "public key", "the stored public key does not parse");
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(damaged)?;
        spki.algorithm.assert_algorithm_oid(ALGORITHM_OID).map_err(|_| damaged(der::ErrorKind::Failed.into()))?;
        let key = RsaPublicKeyRef::from_der(spki.subject_public_key.raw_bytes()).map_err(damaged)?;
        Ok(Self { modulus: key.modulus.as_bytes().to_vec(), exponent: key.public_exponent.as_bytes().to_vec() })
    }

    /// Writes DER SubjectPublicKeyInfo.
    pub(super) fn to_spki(&self) -> Result<Vec<u8>, HsmError> {
        self.encode().map_err(|_| HsmError::new(Kind::Bug, "public key", "the HSM's public key does not encode"))
    }

    fn encode(&self) -> der::Result<Vec<u8>> {
        let key =
            RsaPublicKeyRef { modulus: UintRef::new(&self.modulus)?, public_exponent: UintRef::new(&self.exponent)? };
        let subject_public_key = BitString::from_bytes(&key.to_der()?)?;
        SubjectPublicKeyInfo { algorithm: ALGORITHM_ID, subject_public_key }.to_der()
    }

    /// Length of the modulus in bytes: k of RFC 8017.
    pub(super) fn k(&self) -> usize {
        self.modulus.len()
    }

    /// Whether `ciphertext` is k bytes that, as a number, are less than the modulus. Both are public, so this may be seen.
    pub(super) fn admits(&self, ciphertext: &[u8]) -> bool {
        ciphertext.len() == self.k() && ciphertext < self.modulus.as_slice()
    }
}

/// A modulus as a module gives it, which may have leading zeros.
pub(super) fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(first..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RsaPublicKey {
        RsaPublicKey { modulus: [vec![0xc5], vec![0x11; 255]].concat(), exponent: vec![1, 0, 1] }
    }

    #[test]
    fn spki_goes_both_ways() {
        assert_eq!(RsaPublicKey::from_spki(&key().to_spki().unwrap()), Ok(key()));
        assert!(RsaPublicKey::from_spki(b"not DER").is_err());
    }

    #[test]
    fn only_numbers_below_the_modulus_are_admitted() {
        let modulus = key().modulus;
        let mut below = modulus.clone();
        below[255] -= 1;
        assert!(key().admits(&below));
        assert!(!key().admits(&modulus));
        assert!(!key().admits(&below[1..]));
        assert!(!key().admits(&[&[0][..], &below].concat()));
    }
}
