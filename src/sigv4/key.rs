//! Signing keys: made of an access key's secret for one day, region and service.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{SERVICE, TERMINATOR};
use crate::secret::SecretText;

/// The key from which every signing key of a day is derived. Secret for its day: no `Debug`, and overwritten with zeros when dropped.
pub struct DateKey {
    bytes: Zeroizing<[u8; 32]>,
    is_somebodys: bool,
}

/// A signing key. Secret for its day, like [`DateKey`]. It signs every request of its day, so it is kept as HMAC that has taken it in.
pub struct SigningKey {
    mac: Hmac<Sha256>,
    is_somebodys: bool,
}

impl DateKey {
    /// Of `secret`, for a day (`YYYYMMDD`).
    pub fn derive(secret: &SecretText, date: &str) -> Self {
        let secret = Zeroizing::new(["AWS4".as_bytes(), secret.expose().as_bytes()].concat());
        Self { bytes: mac(&secret, date), is_somebodys: true }
    }

    /// One to verify with where there is none, so that an unknown access key costs what a wrong signature costs. No
    /// signature passes a key of it, not even one that is made with its bytes.
    pub fn of_nobody() -> Self {
        Self { bytes: Zeroizing::new([0; 32]), is_somebodys: false }
    }

    /// The signing key of a region.
    pub fn signing_key(&self, region: &str) -> SigningKey {
        self.signing_key_for(SERVICE, region)
    }

    pub(super) fn signing_key_for(&self, service: &str, region: &str) -> SigningKey {
        let mut bytes = self.bytes.clone();
        for part in [region, service, TERMINATOR] {
            bytes = mac(bytes.as_slice(), part);
        }
        SigningKey { mac: keyed(bytes.as_slice()), is_somebodys: self.is_somebodys }
    }
}

impl SigningKey {
    pub(super) fn is_somebodys(&self) -> bool {
        self.is_somebodys
    }

    pub(super) fn sign(&self, text: &str) -> [u8; 32] {
        *finished(self.mac.clone(), text)
    }
}

/// HMAC-SHA-256.
fn mac(key: &[u8], text: &str) -> Zeroizing<[u8; 32]> {
    finished(keyed(key), text)
}

/// HMAC-SHA-256 that has taken in its key. The key is brought to the length of a block here, as HMAC itself would do (RFC 2104),
/// because a whole block is a key that cannot be refused.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    if key.len() <= block.len() {
        fill(&mut block, key);
    } else {
        fill(&mut block, &Sha256::digest(key));
    }
    Hmac::new((&*block).into())
}

fn finished(mut mac: Hmac<Sha256>, text: &str) -> Zeroizing<[u8; 32]> {
    mac.update(text.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn fill(block: &mut [u8; 64], bytes: &[u8]) {
    block.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::canonical::hex;

    /// RFC 4231, test cases 2 and 6: a short key, and one longer than a block.
    #[test]
    fn keys_of_any_length() {
        assert_eq!(
            hex(mac(b"Jefe", "what do ya want for nothing?").as_slice()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(mac(&[0xaa; 131], "Test Using Larger Than Block-Size Key - Hash Key First").as_slice()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
