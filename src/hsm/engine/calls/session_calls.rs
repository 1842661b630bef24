//! AES-GCM, RSAES-OAEP and random bytes, by the calls of one session.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::key::bytes;
use crate::secret::SecretBytes;

use super::mechanism::{OaepHash, TAG_BYTES, gcm};
use super::oaep;
use super::public_key::RsaPublicKey;
use super::raw::Functions;
use crate::hsm::engine::profile::OaepMethod;
use crate::hsm::error::{HsmError, Kind};

/// An AES-256-GCM ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The IV it was made with.
    pub iv: [u8; 12],
    /// The ciphertext, followed by the 16-byte tag.
    #[serde(with = "bytes")]
    pub ciphertext: Vec<u8>,
}

/// One session, and the calls that can be made on it.
#[derive(Clone, Copy)]
pub(in crate::hsm) struct SessionCalls<'a> {
    pub(in crate::hsm) functions: &'a Functions,
    pub(in crate::hsm) session: &'a Session,
}

impl SessionCalls<'_> {
    /// Random bytes of the HSM.
    pub(in crate::hsm) fn random(&self, len: usize) -> Result<SecretBytes, HsmError> {
        let mut bytes = zeroize::Zeroizing::new(vec![0; len]);
        self.session.generate_random_slice(&mut bytes)?;
        if repeats_itself(&bytes) || self.functions.has_just_come(&bytes) {
            return Err(HsmError::new(Kind::DeviceLost, "C_GenerateRandom", "the random bytes repeat themselves"));
        }
        Ok(SecretBytes::from(std::mem::take(&mut *bytes)))
    }

    /// Random bytes of the HSM XOR random bytes of the operating system: neither a repeating HSM nor a cloned virtual
    /// machine alone can make them come twice.
    pub(in crate::hsm) fn unique<const N: usize>(&self) -> Result<[u8; N], HsmError> {
        let mut ours = [0; N];
        let mut theirs = [0; N];
        getrandom::fill(&mut ours)
            .map_err(|_| HsmError::new(Kind::Bug, "getrandom", "the system gave no random bytes"))?;
        self.session.generate_random_slice(&mut theirs)?;
        ours.iter_mut().zip(theirs).for_each(|(byte, other)| *byte ^= other);
        Ok(ours)
    }

    /// AES-256-GCM with a fresh IV.
    pub(in crate::hsm) fn seal(&self, key: ObjectHandle, aad: &[u8], input: &[u8]) -> Result<Sealed, HsmError> {
        let iv = self.unique()?;
        Ok(Sealed { iv, ciphertext: self.seal_with(key, iv, aad, input)? })
    }

    /// AES-256-GCM with a given IV; only for known answers.
    pub(in crate::hsm) fn seal_with(
        &self,
        key: ObjectHandle,
        mut iv: [u8; 12],
        aad: &[u8],
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let mechanism = gcm(&mut iv, aad)?;
        let ciphertext = self.functions.encrypt_once(self.session, &mechanism, key, input, input.len() + TAG_BYTES)?;
        // A shorter answer would be a ciphertext without its tag.
        if ciphertext.len() != input.len() + TAG_BYTES {
            return Err(HsmError::nonsense("C_Encrypt", "the length of the ciphertext is wrong"));
        }
        Ok(ciphertext)
    }

    /// The inverse of `seal`.
    pub(in crate::hsm) fn open(
        &self,
        key: ObjectHandle,
        mut iv: [u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<SecretBytes, HsmError> {
        if ciphertext.len() < TAG_BYTES {
            return Err(HsmError::new(Kind::Rejected, "open", "shorter than a tag"));
        }
        let mechanism = gcm(&mut iv, aad)?;
        let plaintext = self.functions.decrypt_once(self.session, &mechanism, key, ciphertext, ciphertext.len())?;
        match plaintext.len() + TAG_BYTES == ciphertext.len() {
            true => Ok(plaintext),
            false => Err(HsmError::nonsense("C_Decrypt", "the length of the plaintext is wrong")),
        }
    }

    /// RSAES-OAEP under a public key whose handle is `key`.
    pub(in crate::hsm) fn oaep_encrypt(
        &self,
        oaep: Oaep,
        key: ObjectHandle,
        public: &RsaPublicKey,
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let k = public.k();
        let too_long = || HsmError::new(Kind::Rejected, "encrypt", "the plaintext is too long for the key");
        if input.len() > oaep.hash.max_plaintext_bytes(k) {
            return Err(too_long());
        }
        let ciphertext = match oaep.step()? {
            OaepStep::Native => self.functions.encrypt_once(self.session, &oaep.hash.mechanism(), key, input, k)?,
            OaepStep::Raw => {
                let padded = oaep::pad(k, &self.unique()?, input).ok_or_else(too_long)?;
                self.functions.encrypt_once(self.session, &Mechanism::RsaX509, key, &padded, k)?
            }
        };
        match ciphertext.len() == k {
            true => Ok(ciphertext),
            false => Err(HsmError::nonsense("C_Encrypt", "the ciphertext is not as long as the modulus")),
        }
    }

    /// The inverse, with the private key whose handle is `key`.
    pub(in crate::hsm) fn oaep_decrypt(
        &self,
        oaep: Oaep,
        key: ObjectHandle,
        public: &RsaPublicKey,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, HsmError> {
        if !public.admits(ciphertext) {
            return Err(not_ours());
        }
        match oaep.step()? {
            OaepStep::Native => {
                self.functions.decrypt_once(self.session, &oaep.hash.mechanism(), key, ciphertext, public.k())
            }
            OaepStep::Raw => {
                oaep::unpad(self.raw_decrypt(key, public, ciphertext)?.expose(), public.k()).ok_or_else(perhaps_ours)
            }
        }
    }

    /// Raw RSA. A module that strips leading zeros gives away the very bit that Manger's attack needs, so one that gives
    /// anything but k bytes is not used in this way; the probe sees to it, and this to the rest.
    pub(in crate::hsm) fn raw_decrypt(
        &self,
        key: ObjectHandle,
        public: &RsaPublicKey,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, HsmError> {
        let encoded = self.functions.decrypt_once(self.session, &Mechanism::RsaX509, key, ciphertext, public.k())?;
        if encoded.len() != public.k() {
            return Err(HsmError::nonsense("C_Decrypt", "raw RSA gave another length than the modulus"));
        }
        Ok(encoded)
    }

    /// An error unless `opened` gives back `plaintext`: the test of a new key.
    pub(in crate::hsm) fn is_same(plaintext: &[u8], opened: &SecretBytes) -> Result<(), HsmError> {
        match bool::from(plaintext.ct_eq(opened.expose())) {
            true => Ok(()),
            false => Err(HsmError::wrong_answer("self-test")),
        }
    }
}

/// True if both halves are the same, as from a generator that is stuck. Chance does this once in 2^64, if it ever does.
fn repeats_itself(bytes: &[u8]) -> bool {
    let (one, rest) = bytes.split_at(bytes.len() / 2);
    let other = rest.get(..one.len()).unwrap_or_default();
    one.len() >= 8 && bool::from(one.ct_eq(other))
}

/// The one answer to every RSA ciphertext that is not ours, however it is decrypted.
fn not_ours() -> HsmError {
    HsmError::new(Kind::Rejected, "decrypt", "the ciphertext does not decrypt")
}

/// The one answer to every padding that is not right: it may be the HSM that has made it so.
fn perhaps_ours() -> HsmError {
    HsmError::new(Kind::Ambiguous, "decrypt", "the padding is not right")
}

/// Which RSAES-OAEP, and how this HSM does it.
#[derive(Debug, Clone, Copy)]
pub(in crate::hsm) struct Oaep {
    pub(in crate::hsm) hash: OaepHash,
    /// How SHA-256 is done; SHA-1 is always the token's own.
    pub(in crate::hsm) sha256: OaepMethod,
}

enum OaepStep {
    Native,
    Raw,
}

impl Oaep {
    fn step(self) -> Result<OaepStep, HsmError> {
        match (self.hash, self.sha256) {
            (OaepHash::Sha1, _) | (OaepHash::Sha256, OaepMethod::Native) => Ok(OaepStep::Native),
            (OaepHash::Sha256, OaepMethod::RawWithHostUnpadding) => Ok(OaepStep::Raw),
            (OaepHash::Sha256, OaepMethod::Refused) => {
                Err(HsmError::new(Kind::Unsupported, "oaep", "this HSM does not do RSAES_OAEP_SHA_256"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_generator_is_noticed() {
        assert!(repeats_itself(&[0; 32]) && repeats_itself(&[7; 33]));
        assert!(repeats_itself(&[1, 2, 3, 4, 5, 6, 7, 8].repeat(2)));
        assert!(!repeats_itself(&(0..32).collect::<Vec<u8>>()));
        assert!(!repeats_itself(&[0; 15]), "too short to tell");
    }
}
