//! Private keys as seeds have them: PEM in one of three forms, of which an import takes one, PKCS #8.

use der::{
    Decode, Encode,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use pkcs8::PrivateKeyInfoRef;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use sec1::{EcParameters, EcPrivateKey};
use spki::AlgorithmIdentifierRef;

use crate::{key::spec::KeySpec, secret::SecretBytes};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The curves, by their object identifiers (RFC 5480 section 2.1.1.1; SEC 2).
const CURVES: [(ObjectIdentifier, KeySpec); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), KeySpec::EccNistP256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), KeySpec::EccNistP384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), KeySpec::EccNistP521),
    (ObjectIdentifier::new_unwrap("1.3.132.0.10"), KeySpec::EccSecgP256k1),
];

/// The key spec of a private key, and the key as PKCS #8; `None` if it cannot be imported. No error repeats any of it.
pub(super) fn read(pem: &str) -> Option<(KeySpec, SecretBytes)> {
    let pkcs8 = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der().to_vec(),
        PrivateKeyDer::Pkcs1(der) => as_pkcs8(pkcs1::ALGORITHM_ID, der.secret_pkcs1_der())?,
        PrivateKeyDer::Sec1(der) => {
            let EcParameters::NamedCurve(curve) = EcPrivateKey::from_der(der.secret_sec1_der()).ok()?.parameters?;
            let algorithm = AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&curve).into()) };
            as_pkcs8(algorithm, der.secret_sec1_der())?
        }
        _ => return None,
    };
    let pkcs8 = SecretBytes::from(pkcs8);
    Some((spec(pkcs8.expose())?, pkcs8))
}

fn as_pkcs8(algorithm: AlgorithmIdentifierRef<'_>, private_key: &[u8]) -> Option<Vec<u8>> {
    PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(private_key).ok()?).to_der().ok()
}

fn spec(pkcs8: &[u8]) -> Option<KeySpec> {
    let info = PrivateKeyInfoRef::from_der(pkcs8).ok()?;
    if info.algorithm.oid == EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters_oid().ok()?;
        return CURVES.iter().find(|(oid, _)| *oid == curve).map(|(_, spec)| *spec);
    }
    let key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).ok()?;
    match key.modulus.as_bytes().len() {
        256 => Some(KeySpec::Rsa2048),
        384 => Some(KeySpec::Rsa3072),
        512 => Some(KeySpec::Rsa4096),
        _ => None,
    }
}
