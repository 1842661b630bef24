//! Signatures and MACs in one session.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::{Hash, MacAlgorithm, SigningAlgorithm};
use crate::key::spec::{Curve, KeySpec};
use crate::secret::SecretBytes;

use super::mechanism;
use super::proof;
use super::session_calls::SessionCalls;

impl SessionCalls<'_> {
    /// Signs what [`SigningAlgorithm::input`] gave, and encodes the signature as AWS does.
    pub(in crate::hsm) fn sign(
        &self,
        spec: KeySpec,
        algorithm: SigningAlgorithm,
        key: ObjectHandle,
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let input = framed(algorithm, input);
        let signature = self.functions.sign_once(self.session, &signing(algorithm)?, key, &input)?;
        match spec.curve() {
            Some(curve) => ecdsa_to_der(curve, &signature),
            None if Some(signature.len()) == signature_bytes(spec) => Ok(signature),
            None => Err(HsmError::nonsense("C_Sign", "the length of the signature is wrong")),
        }
    }

    /// An error unless `signature` is of `input`, by the public key whose handle is `key`. The error is `Rejected` if it
    /// cannot be, `Ambiguous` if the HSM says that it is not.
    pub(in crate::hsm) fn verify(
        &self,
        spec: KeySpec,
        algorithm: SigningAlgorithm,
        key: ObjectHandle,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), HsmError> {
        let bare = match spec.curve() {
            Some(curve) => ecdsa_from_der(curve, signature).ok_or_else(not_a_signature)?,
            None => signature.to_vec(),
        };
        if signature_bytes(spec) != Some(bare.len()) {
            return Err(not_a_signature());
        }
        self.functions.verify_once(self.session, &signing(algorithm)?, key, &framed(algorithm, input), &bare)
    }

    /// An HMAC, whole.
    pub(in crate::hsm) fn mac(
        &self,
        algorithm: MacAlgorithm,
        key: ObjectHandle,
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let mac = self.functions.sign_once(self.session, &mechanism::mac(algorithm), key, input)?;
        match mac.len() == mac_bytes(algorithm) {
            true => Ok(mac),
            false => Err(HsmError::nonsense("C_Sign", "the length of the MAC is wrong")),
        }
    }

    /// An error unless `mac` is the HMAC of `input`, in a time that does not depend on where it differs. Before another's MAC is said to
    /// be wrong, ours is made again: that two are wrong in the same way is not to be expected.
    pub(in crate::hsm) fn verify_mac(
        &self,
        algorithm: MacAlgorithm,
        key: ObjectHandle,
        input: &[u8],
        mac: &[u8],
    ) -> Result<(), HsmError> {
        let ours = self.mac(algorithm, key, input)?;
        if ours.ct_eq(mac).into() {
            return Ok(());
        }
        proof::prove(&ours, self.mac(algorithm, key, input).map(SecretBytes::from))?;
        Err(HsmError::new(Kind::Rejected, "verify", "it is not the MAC"))
    }
}

fn signing(algorithm: SigningAlgorithm) -> Result<Mechanism<'static>, HsmError> {
    let unknown = || HsmError::new(Kind::Unsupported, "sign", format!("{algorithm} is not offered"));
    mechanism::signing(algorithm).ok_or_else(unknown)
}

fn not_a_signature() -> HsmError {
    HsmError::new(Kind::Rejected, "verify", "it is not a signature by a key of this spec")
}

/// Length of a signature as PKCS#11 has it, in bytes; ML-DSA's are in FIPS 204, table 2.
fn signature_bytes(spec: KeySpec) -> Option<usize> {
    match (spec, spec.modulus_bits(), spec.curve()) {
        (_, Some(bits), _) => Some(bits as usize / 8),
        (_, _, Some(curve)) => Some(2 * curve.bytes()),
        (KeySpec::EccNistEdwards25519, ..) => Some(64),
        (KeySpec::MlDsa44, ..) => Some(2420),
        (KeySpec::MlDsa65, ..) => Some(3309),
        (KeySpec::MlDsa87, ..) => Some(4627),
        _ => None,
    }
}

/// The HMAC under a key that is known here, for a known answer.
pub(in crate::hsm) fn mac_here(algorithm: MacAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    fn of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
        // HMAC takes a key of any length.
        let mac = <M as KeyInit>::new_from_slice(key).map(|mac| mac.chain_update(message).finalize().into_bytes());
        mac.map(|bytes| bytes.to_vec()).unwrap_or_default()
    }
    match algorithm {
        MacAlgorithm::HmacSha224 => of::<Hmac<Sha224>>(key, message),
        MacAlgorithm::HmacSha256 => of::<Hmac<Sha256>>(key, message),
        MacAlgorithm::HmacSha384 => of::<Hmac<Sha384>>(key, message),
        MacAlgorithm::HmacSha512 => of::<Hmac<Sha512>>(key, message),
    }
}

fn mac_bytes(algorithm: MacAlgorithm) -> usize {
    match algorithm {
        MacAlgorithm::HmacSha224 => 28,
        MacAlgorithm::HmacSha256 => 32,
        MacAlgorithm::HmacSha384 => 48,
        MacAlgorithm::HmacSha512 => 64,
    }
}

/// The input as the mechanism wants it: CKM_RSA_PKCS signs a DigestInfo.
fn framed(algorithm: SigningAlgorithm, input: &[u8]) -> Vec<u8> {
    use SigningAlgorithm::{RsassaPkcs1V15Sha256, RsassaPkcs1V15Sha384, RsassaPkcs1V15Sha512};
    match (algorithm, algorithm.hash()) {
        (RsassaPkcs1V15Sha256 | RsassaPkcs1V15Sha384 | RsassaPkcs1V15Sha512, Some(hash)) => {
            [&digest_info(hash)[..], input].concat()
        }
        _ => input.to_vec(),
    }
}

/// The DER of DigestInfo before the digest (RFC 8017 section 9.2, note 1).
fn digest_info(hash: Hash) -> [u8; 19] {
    let (algorithm, bytes) = match hash {
        Hash::Sha256 => (1, 32),
        Hash::Sha384 => (2, 48),
        Hash::Sha512 => (3, 64),
    };
    let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, algorithm];
    let mut info = [0x30, 17 + bytes, 0x30, 0x0d, 0x06, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 0x00, 0x04, bytes];
    info[6..15].copy_from_slice(&oid);
    info
}

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3).
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The signature as PKCS#11 has it, r and s side by side, as a DER SEQUENCE of two INTEGERs.
fn ecdsa_to_der(curve: Curve, bare: &[u8]) -> Result<Vec<u8>, HsmError> {
    let nonsense = || HsmError::nonsense("C_Sign", "it is no ECDSA signature");
    let (r, s) = bare.split_at_checked(curve.bytes()).filter(|(_, s)| s.len() == curve.bytes()).ok_or_else(nonsense)?;
    let encode = || EcdsaSignature { r: UintRef::new(r)?, s: UintRef::new(s)? }.to_der();
    encode().map_err(|_: der::Error| nonsense())
}

/// The other way round; none for anything but the one DER encoding of two numbers that are not too long.
fn ecdsa_from_der(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    let EcdsaSignature { r, s } = EcdsaSignature::from_der(der).ok()?;
    let mut bare = vec![0; 2 * curve.bytes()];
    for (number, place) in [r, s].iter().zip(bare.chunks_exact_mut(curve.bytes())) {
        let start = place.len().checked_sub(number.as_bytes().len())?;
        place.get_mut(start..)?.copy_from_slice(number.as_bytes());
    }
    Some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_info_is_der() {
        let info = [&digest_info(Hash::Sha256)[..], &[7; 32]].concat();
        let (algorithm, digest) = der::Any::from_der(&info)
            .and_then(|any| {
                any.sequence(|reader| {
                    let algorithm = spki::AlgorithmIdentifierOwned::decode(reader)?;
                    Ok((algorithm, der::asn1::OctetString::decode(reader)?))
                })
            })
            .unwrap();
        assert_eq!(algorithm.oid.to_string(), "2.16.840.1.101.3.4.2.1");
        assert_eq!(digest.as_bytes(), [7; 32]);
    }

    #[test]
    fn ecdsa_goes_both_ways_and_only_der_is_read() {
        let bare = [&[0, 0x80][..], &[1; 30], &[0; 31], &[5]].concat();
        let der = ecdsa_to_der(Curve::P256, &bare).unwrap();
        assert_eq!(ecdsa_from_der(Curve::P256, &der), Some(bare));
        assert_eq!(der.len(), 2 + 2 + 32 + 3, "minimal numbers");
        assert_eq!(ecdsa_from_der(Curve::P256, &[&der[..], &[0]].concat()), None, "something after it");
        let padded = [&[0x30, der[1] + 1, 0x02, der[3] + 1, 0][..], &der[4..]].concat();
        assert_eq!(ecdsa_from_der(Curve::P256, &padded), None, "a number with a zero too many");
        let negative = [0x30, 6, 2, 1, 0x80, 2, 1, 1];
        assert_eq!(ecdsa_from_der(Curve::P256, &negative), None);
        let too_long = ecdsa_to_der(Curve::P384, &[1; 96]).unwrap();
        assert_eq!(ecdsa_from_der(Curve::P256, &too_long), None);
        assert!(ecdsa_to_der(Curve::P256, &[1; 63]).is_err());
    }
}
