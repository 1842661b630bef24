//! Data key pairs: made in the HSM, and answered to the caller, private key and all.
//!
//! A private key leaves the HSM wrapped under an AES key that lives for this one call and is known here: HSMs do not let keys
//! out in clear, and none of our objects is ever readable. A private key of Ed25519 or ML-KEM is a seed of random bytes, so it is
//! the HSM's random bytes, and only the public half is made of them here: few HSMs can wrap such keys.
//!
//! Nobody sees here again what goes out, so it is seen before: that a signature by the private key is verified with the public
//! key, and, which is in the nature of the wrapping, that the private key came out as it was.

use aes_kw::{KeyInit, KwpAes256};
use cryptoki::object::ObjectHandle;
use der::asn1::{BitStringRef, OctetStringRef};
use der::{Decode, Encode};
use ml_kem::kem::KeyExport;
use ml_kem::{DecapsulationKey512, DecapsulationKey768, DecapsulationKey1024, Seed};
use pkcs8::PrivateKeyInfoRef;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sec1::EcPrivateKey;
use serde::{Deserialize, Serialize};
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::{Algorithm, SigningAlgorithm};
use crate::key::bytes;
use crate::key::material::{Keeping, Material, MaterialId, WrapMechanism};
use crate::key::spec::{KeySpec, KeyUsage};
use crate::secret::SecretBytes;

use super::objects::TemporaryObject;
use super::public_key::PublicKey;
use super::session_calls::SessionCalls;
use super::templates::{self, Lifetime};
use crate::hsm::engine::profile::Profile;
use crate::hsm::engine::profile::bindings::{AllowedMechanisms, Nature};

/// A key pair that is the caller's.
#[derive(Serialize, Deserialize)]
pub struct DataKeyPair {
    /// The public key, as DER SubjectPublicKeyInfo.
    #[serde(with = "bytes")]
    pub public_key: Vec<u8>,
    /// The private key, as DER PKCS#8 (RFC 5958).
    pub private_key: SecretBytes,
}

impl SessionCalls<'_> {
    /// Makes a pair that leaves the HSM.
    pub(in crate::hsm) fn generate_pair(&self, spec: KeySpec, profile: &Profile) -> Result<DataKeyPair, HsmError> {
        match spec {
            KeySpec::EccNistEdwards25519 => return self.generate_ed25519(),
            KeySpec::MlKem512 | KeySpec::MlKem768 | KeySpec::MlKem1024 => return self.generate_ml_kem(spec),
            _ => {}
        }
        let mechanism = profile.wrap.filter(|_| profile.wraps(spec, KeyUsage::SignVerify));
        let mechanism = mechanism.ok_or_else(|| unsupported(spec))?;
        let nature = Nature { spec, usage: KeyUsage::SignVerify };
        let made = self.generate_key(nature, Lifetime::Temporary, AllowedMechanisms::default())?;
        let secret = TemporaryObject::new(self.session, made.secret);
        let (public, key) = made.public.ok_or_else(|| unsupported(spec))?;
        let _public = TemporaryObject::new(self.session, public);
        self.see_halves_fit(spec, secret.handle, key.to_spki()?)?;
        let private = self.take_out(mechanism, secret.handle)?;
        Ok(DataKeyPair { public_key: key.to_spki()?, private_key: canonical(&private, &key)? })
    }

    /// An error unless the private key is that of the public key as it was read: whoever encrypts with another loses what they encrypt.
    fn see_halves_fit(&self, spec: KeySpec, private: ObjectHandle, public_key: Vec<u8>) -> Result<(), HsmError> {
        let keeping = Keeping::Token { cka_id: Vec::new(), member: None };
        let id = MaterialId([0; 32]);
        let usage = KeyUsage::SignVerify;
        let pair = Material { id, spec, usage, keeping, public_key: Some(public_key) };
        let first = SigningAlgorithm::of(spec).first();
        first.map_or(Ok(()), |algorithm| self.test_signing(&pair, private, *algorithm))
    }

    fn generate_ed25519(&self) -> Result<DataKeyPair, HsmError> {
        let seed = self.random(32)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| unreadable())?;
        let public = PublicKey::Bytes(KeySpec::EccNistEdwards25519, pair.public_key().as_ref().to_vec());
        let inner = OctetStringRef::new(seed.expose()).and_then(|octets| octets.to_der()).map_err(|_| unreadable())?;
        let private_key = wrapped_up(&public.to_spki()?, &Zeroizing::new(inner))?;
        Ok(DataKeyPair { public_key: public.to_spki()?, private_key })
    }

    fn generate_ml_kem(&self, spec: KeySpec) -> Result<DataKeyPair, HsmError> {
        let seed = self.random(ML_KEM_SEED_BYTES)?;
        let public = PublicKey::Bytes(spec, ml_kem_public(spec, &seed).ok_or_else(unreadable)?);
        // The form of RFC 9935 section 6 that is only the seed: [0] IMPLICIT OCTET STRING.
        let inner = Zeroizing::new([&[0x80, ML_KEM_SEED_BYTES as u8][..], seed.expose()].concat());
        let private_key = wrapped_up(&public.to_spki()?, &inner)?;
        Ok(DataKeyPair { public_key: public.to_spki()?, private_key })
    }

    /// The PKCS#8 of a private key, out of the HSM under a key of this moment.
    fn take_out(&self, mechanism: WrapMechanism, key: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let value = Zeroizing::new(self.unique::<32>()?);
        let transport = self.session.create_object(&templates::transport_key(value.to_vec()))?;
        let transport = TemporaryObject::new(self.session, transport);
        let blob = self.wrap(mechanism, transport.handle, key)?;
        let mut buffer = Zeroizing::new(vec![0; blob.len()]);
        let opened = KwpAes256::new(&(*value).into()).unwrap_key(&blob, &mut buffer).map_err(|_| unreadable())?.len();
        buffer.truncate(opened);
        Ok(buffer)
    }
}

/// Length of d and z together (FIPS 203 section 7.1).
const ML_KEM_SEED_BYTES: usize = 64;

/// The encapsulation key that a seed comes to.
fn ml_kem_public(spec: KeySpec, seed: &SecretBytes) -> Option<Vec<u8>> {
    let seed = || Seed::try_from(seed.expose()).ok();
    Some(match spec {
        KeySpec::MlKem512 => DecapsulationKey512::from_seed(seed()?).encapsulation_key().to_bytes().to_vec(),
        KeySpec::MlKem768 => DecapsulationKey768::from_seed(seed()?).encapsulation_key().to_bytes().to_vec(),
        KeySpec::MlKem1024 => DecapsulationKey1024::from_seed(seed()?).encapsulation_key().to_bytes().to_vec(),
        _ => return None,
    })
}

/// PKCS#8 as AWS answers it, whatever the HSM puts into it: an EC key with its public half and without parameters of its own.
fn canonical(pkcs8: &[u8], public: &PublicKey) -> Result<SecretBytes, HsmError> {
    let info = PrivateKeyInfoRef::from_der(without_padding(pkcs8)?).map_err(|_| unreadable())?;
    let spki = public.to_spki()?;
    match public {
        PublicKey::Point(curve, point) => {
            let key = EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(|_| unreadable())?;
            let mut scalar = Zeroizing::new(vec![0; curve.bytes()]);
            let start = scalar.len().checked_sub(key.private_key.len()).ok_or_else(unreadable)?;
            scalar[start..].copy_from_slice(key.private_key);
            let key = EcPrivateKey { private_key: &scalar, parameters: None, public_key: Some(point) };
            wrapped_up(&spki, &Zeroizing::new(key.to_der().map_err(|_| unreadable())?))
        }
        _ => wrapped_up(&spki, info.private_key.as_bytes()),
    }
}

/// A private key with the algorithm of its public half around it.
fn wrapped_up(spki: &[u8], private_key: &[u8]) -> Result<SecretBytes, HsmError> {
    let encode = || {
        let spki = spki::SubjectPublicKeyInfo::<der::AnyRef<'_>, BitStringRef<'_>>::from_der(spki)?;
        let algorithm = AlgorithmIdentifierRef { ..spki.algorithm };
        PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(private_key)?).to_der()
    };
    encode().map(SecretBytes::from).map_err(|_: der::Error| unreadable())
}

/// SoftHSM2 2.6.1 pads what it wraps with zeros to a multiple of 8 bytes, and counts them in.
fn without_padding(pkcs8: &[u8]) -> Result<&[u8], HsmError> {
    let header = der::Header::decode(&mut der::SliceReader::new(pkcs8).map_err(|_| unreadable())?);
    let header = header.map_err(|_| unreadable())?;
    let length = header.encoded_len().and_then(|own| own + header.length()).map_err(|_| unreadable())?;
    let length = usize::try_from(length).map_err(|_| unreadable())?;
    match pkcs8.split_at_checked(length) {
        Some((whole, rest)) if rest.len() < 8 && rest.iter().all(|byte| *byte == 0) => Ok(whole),
        _ => Err(unreadable()),
    }
}

fn unsupported(spec: KeySpec) -> HsmError {
    HsmError::new(Kind::Unsupported, "generate", format!("this HSM lets no key pair of {spec} out"))
}

/// A wrapped key that cannot be read here: what the HSM said is not what it should be.
fn unreadable() -> HsmError {
    HsmError::nonsense("C_WrapKey", "the wrapped private key cannot be read")
}
