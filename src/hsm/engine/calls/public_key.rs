//! Public keys: SubjectPublicKeyInfo in and out, and what can be said of them without a secret.

use der::asn1::{BitString, ObjectIdentifier};
use der::{Any, Decode, Encode};
use pkcs1::{ALGORITHM_ID, ALGORITHM_OID, RsaPublicKeyRef, UintRef};
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use crate::hsm::error::{HsmError, Kind};
use crate::key::spec::{Curve, KeySpec};

/// id-ecPublicKey (RFC 5480 section 2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// id-Ed25519 (RFC 8410 section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hsm) enum PublicKey {
    Rsa(RsaPublicKey),
    /// A point of a curve, uncompressed: 04, x, y (SEC 1 section 2.3.3).
    Point(Curve, Vec<u8>),
    /// Bytes that are the whole key: Ed25519, ML-DSA, ML-KEM.
    Bytes(KeySpec, Vec<u8>),
}

impl PublicKey {
    /// Reads DER SubjectPublicKeyInfo of a key of this spec.
    pub(in crate::hsm) fn from_spki(spec: KeySpec, der: &[u8]) -> Result<Self, HsmError> {
        match (spec.modulus_bits(), spec.curve()) {
            (Some(_), _) => RsaPublicKey::from_spki(der).map(Self::Rsa),
            (_, Some(curve)) => Ok(Self::Point(curve, read(der, EC, Some(curve_oid(curve)))?)),
            _ => Ok(Self::Bytes(spec, read(der, bytes_oid(spec).ok_or_else(damaged)?, None)?)),
        }
    }

    /// Writes DER SubjectPublicKeyInfo.
    pub(in crate::hsm) fn to_spki(&self) -> Result<Vec<u8>, HsmError> {
        match self {
            Self::Rsa(key) => key.to_spki(),
            Self::Point(curve, point) => write(EC, Some(curve_oid(*curve)), point),
            Self::Bytes(spec, bytes) => write(bytes_oid(*spec).ok_or_else(damaged)?, None, bytes),
        }
    }

    /// A public key out of CKA_EC_POINT, which is a DER OCTET STRING on some HSMs and the bare point on others; they are told
    /// apart by their lengths.
    pub(in crate::hsm) fn from_ec_point(spec: KeySpec, attribute: &[u8]) -> Result<Self, HsmError> {
        let nonsense = || HsmError::nonsense("C_GetAttributeValue", "CKA_EC_POINT is no public key of the curve");
        let length = spec.curve().map_or(ED25519_BYTES, |curve| 1 + 2 * curve.bytes());
        let bare = match attribute.len() == length {
            true => attribute,
            false => <&der::asn1::OctetStringRef>::from_der(attribute).map_err(|_| nonsense())?.as_bytes(),
        };
        match (bare.len() == length, spec.curve()) {
            (true, Some(curve)) if bare.first() == Some(&4) => Ok(Self::Point(curve, bare.to_vec())),
            (true, None) => Ok(Self::Bytes(spec, bare.to_vec())),
            _ => Err(nonsense()),
        }
    }

    /// CKA_EC_POINT as the standard has it: the point as a DER OCTET STRING.
    pub(in crate::hsm) fn ec_point(bytes: &[u8]) -> Vec<u8> {
        der::asn1::OctetStringRef::new(bytes).and_then(|octets| octets.to_der()).unwrap_or_default()
    }
}

const ED25519_BYTES: usize = 32;

/// The point that another party's SubjectPublicKeyInfo names, if it is on `curve`, and neither compressed nor infinity.
pub(in crate::hsm) fn point_of(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    let point = read(der, EC, Some(curve_oid(curve))).ok()?;
    let uncompressed = point.len() == 1 + 2 * curve.bytes() && point.first() == Some(&4);
    let on_curve = uncompressed
        && match curve {
            Curve::P256 => p256::PublicKey::from_sec1_bytes(&point).is_ok(),
            Curve::P384 => p384::PublicKey::from_sec1_bytes(&point).is_ok(),
            Curve::P521 => p521::PublicKey::from_sec1_bytes(&point).is_ok(),
            // No agreement is offered on it.
            Curve::Secp256k1 => false,
        };
    on_curve.then_some(point)
}

/// The base point of a curve, uncompressed.
pub(in crate::hsm) fn base_point(curve: Curve) -> Vec<u8> {
    macro_rules! generator {
        ($curve:ident) => {{
            use $curve::elliptic_curve::sec1::ToSec1Point;
            $curve::AffinePoint::GENERATOR.to_sec1_point(false).as_bytes().to_vec()
        }};
    }
    match curve {
        Curve::P256 => generator!(p256),
        Curve::P384 => generator!(p384),
        Curve::P521 => generator!(p521),
        Curve::Secp256k1 => generator!(k256),
    }
}

/// The two points of a curve that have this x, uncompressed; none if there are none.
pub(in crate::hsm) fn points_at(curve: Curve, x: &[u8]) -> Vec<Vec<u8>> {
    macro_rules! decompress {
        ($curve:ident, $compressed:expr) => {{
            use $curve::elliptic_curve::sec1::ToSec1Point;
            let key = $curve::PublicKey::from_sec1_bytes(&$compressed).ok();
            key.map(|key| key.to_sec1_point(false).as_bytes().to_vec())
        }};
    }
    let both = [2, 3].map(|sign| [&[sign], x].concat());
    let points = both.iter().filter_map(|compressed| match curve {
        Curve::P256 => decompress!(p256, compressed),
        Curve::P384 => decompress!(p384, compressed),
        Curve::P521 => decompress!(p521, compressed),
        Curve::Secp256k1 => decompress!(k256, compressed),
    });
    points.collect()
}

/// The name of a curve, which is CKA_EC_PARAMS in DER.
pub(in crate::hsm) fn curve_oid(curve: Curve) -> ObjectIdentifier {
    match curve {
        Curve::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        Curve::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        Curve::P521 => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
        Curve::Secp256k1 => ObjectIdentifier::new_unwrap("1.3.132.0.10"),
    }
}

/// CKA_EC_PARAMS of a key of this spec; none if it is on no curve.
pub(in crate::hsm) fn ec_params(spec: KeySpec) -> Option<Vec<u8>> {
    let oid = spec.curve().map(curve_oid).or_else(|| (spec == KeySpec::EccNistEdwards25519).then_some(ED25519));
    oid.and_then(|oid| oid.to_der().ok())
}

/// The object identifier of a key whose bytes are the whole key (RFC 8410, RFC 9881, RFC 9935).
fn bytes_oid(spec: KeySpec) -> Option<ObjectIdentifier> {
    let oid = |text| Some(ObjectIdentifier::new_unwrap(text));
    match spec {
        KeySpec::EccNistEdwards25519 => Some(ED25519),
        KeySpec::MlDsa44 => oid("2.16.840.1.101.3.4.3.17"),
        KeySpec::MlDsa65 => oid("2.16.840.1.101.3.4.3.18"),
        KeySpec::MlDsa87 => oid("2.16.840.1.101.3.4.3.19"),
        KeySpec::MlKem512 => oid("2.16.840.1.101.3.4.4.1"),
        KeySpec::MlKem768 => oid("2.16.840.1.101.3.4.4.2"),
        KeySpec::MlKem1024 => oid("2.16.840.1.101.3.4.4.3"),
        _ => None,
    }
}

fn read(der: &[u8], algorithm: ObjectIdentifier, parameter: Option<ObjectIdentifier>) -> Result<Vec<u8>, HsmError> {
    let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| damaged())?;
    let found = spki.algorithm.parameters.map(|any| any.decode_as::<ObjectIdentifier>());
    let fits = match (found, parameter) {
        (None, None) => true,
        (Some(Ok(found)), Some(wanted)) => found == wanted,
        _ => false,
    };
    match (fits && spki.algorithm.oid == algorithm, spki.subject_public_key.as_bytes()) {
        (true, Some(bytes)) => Ok(bytes.to_vec()),
        _ => Err(damaged()),
    }
}

fn write(oid: ObjectIdentifier, parameter: Option<ObjectIdentifier>, bytes: &[u8]) -> Result<Vec<u8>, HsmError> {
    let encode = || {
        let parameters = parameter.map(|oid| Any::encode_from(&oid)).transpose()?;
        let algorithm = AlgorithmIdentifier { oid, parameters };
        SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(bytes)? }.to_der()
    };
    encode().map_err(|_: der::Error| unwritable())
}

fn damaged() -> HsmError {
    HsmError::new(Kind::KeyMissing, "public key", "the stored public key does not parse")
}

fn unwritable() -> HsmError {
    HsmError::new(Kind::Bug, "public key", "the HSM's public key does not encode")
}

/// Modulus and exponent, big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hsm) struct RsaPublicKey {
    pub(in crate::hsm) modulus: Vec<u8>,
    pub(in crate::hsm) exponent: Vec<u8>,
}

impl RsaPublicKey {
    /// Reads DER SubjectPublicKeyInfo.
    pub(in crate::hsm) fn from_spki(der: &[u8]) -> Result<Self, HsmError> {
        let damaged = |_| damaged();
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(damaged)?;
        spki.algorithm.assert_algorithm_oid(ALGORITHM_OID).map_err(|_| damaged(der::ErrorKind::Failed.into()))?;
        let key = RsaPublicKeyRef::from_der(spki.subject_public_key.raw_bytes()).map_err(damaged)?;
        Ok(Self { modulus: key.modulus.as_bytes().to_vec(), exponent: key.public_exponent.as_bytes().to_vec() })
    }

    /// Writes DER SubjectPublicKeyInfo.
    pub(in crate::hsm) fn to_spki(&self) -> Result<Vec<u8>, HsmError> {
        self.encode().map_err(|_| unwritable())
    }

    /// Writes DER RSAPublicKey (RFC 8017 appendix A.1.1).
    pub(in crate::hsm) fn to_pkcs1(&self) -> Result<Vec<u8>, HsmError> {
        self.encode_pkcs1().map_err(|_| unwritable())
    }

    fn encode_pkcs1(&self) -> der::Result<Vec<u8>> {
        let modulus = UintRef::new(&self.modulus)?;
        let public_exponent = UintRef::new(&self.exponent)?;
        RsaPublicKeyRef { modulus, public_exponent }.to_der()
    }

    fn encode(&self) -> der::Result<Vec<u8>> {
        let subject_public_key = BitString::from_bytes(&self.encode_pkcs1()?)?;
        SubjectPublicKeyInfo { algorithm: ALGORITHM_ID, subject_public_key }.to_der()
    }

    /// Length of the modulus in bytes: k of RFC 8017.
    pub(in crate::hsm) fn k(&self) -> usize {
        self.modulus.len()
    }

    /// True if `ciphertext` is k bytes that, as a number, are less than the modulus. Both are public, so this may be seen.
    pub(in crate::hsm) fn admits(&self, ciphertext: &[u8]) -> bool {
        ciphertext.len() == self.k() && ciphertext < self.modulus.as_slice()
    }
}

/// A modulus as a module gives it, which may have leading zeros.
pub(in crate::hsm) fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(first..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RsaPublicKey {
        RsaPublicKey { modulus: [vec![0xc5], vec![0x11; 255]].concat(), exponent: vec![1, 0, 1] }
    }

    /// The base point of P-256.
    fn point() -> Vec<u8> {
        base_point(Curve::P256)
    }

    #[test]
    fn a_point_is_one_of_the_two_at_its_x() {
        for curve in [Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1] {
            let point = base_point(curve);
            let both = points_at(curve, &point[1..=curve.bytes()]);
            assert!(both.len() == 2 && both.contains(&point), "{curve:?}");
        }
    }

    #[test]
    fn spki_goes_both_ways() {
        let keys = [
            (KeySpec::Rsa2048, PublicKey::Rsa(key())),
            (KeySpec::EccNistP256, PublicKey::Point(Curve::P256, point())),
            (KeySpec::EccNistEdwards25519, PublicKey::Bytes(KeySpec::EccNistEdwards25519, vec![7; 32])),
            (KeySpec::MlDsa44, PublicKey::Bytes(KeySpec::MlDsa44, vec![7; 1312])),
        ];
        for (spec, key) in keys {
            assert_eq!(PublicKey::from_spki(spec, &key.to_spki().unwrap()), Ok(key));
            assert!(PublicKey::from_spki(spec, b"not DER").is_err());
        }
        let p256 = PublicKey::Point(Curve::P256, point()).to_spki().unwrap();
        assert!(PublicKey::from_spki(KeySpec::EccNistP384, &p256).is_err(), "of another curve");
        assert!(RsaPublicKey::from_spki(&p256).is_err());
    }

    #[test]
    fn an_ec_point_may_be_bare_or_an_octet_string() {
        for attribute in [point(), PublicKey::ec_point(&point())] {
            let read = PublicKey::from_ec_point(KeySpec::EccNistP256, &attribute);
            assert_eq!(read, Ok(PublicKey::Point(Curve::P256, point())));
        }
        assert!(PublicKey::from_ec_point(KeySpec::EccNistP256, &point()[1..]).is_err());
        assert!(PublicKey::from_ec_point(KeySpec::EccNistEdwards25519, &[1; 32]).is_ok());
    }

    #[test]
    fn a_point_of_another_must_be_on_the_curve() {
        let spki = |point: Vec<u8>| PublicKey::Point(Curve::P256, point).to_spki().unwrap();
        assert_eq!(point_of(Curve::P256, &spki(point())), Some(point()));
        let mut off = point();
        off[64] ^= 1;
        assert_eq!(point_of(Curve::P256, &spki(off)), None, "off the curve");
        assert_eq!(point_of(Curve::P256, &spki(vec![0])), None, "infinity");
        let compressed = [&[3][..], &point()[1..33]].concat();
        assert_eq!(point_of(Curve::P256, &spki(compressed)), None, "compressed");
        assert_eq!(point_of(Curve::P384, &spki(point())), None, "another curve");
        assert_eq!(point_of(Curve::P256, &key().to_spki().unwrap()), None, "RSA");
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
