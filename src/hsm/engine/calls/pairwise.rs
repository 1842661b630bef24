//! Pairwise tests: a key works if what one half does, or the key as it was made, the other undoes. New keys are seen to pass before they
//! are acknowledged; the probe tries key specs by it.

use cryptoki::object::ObjectHandle;
use ring::signature as independent;

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::{Algorithm, MacAlgorithm, SigningAlgorithm};
use crate::key::material::Material;
use crate::key::spec::{Curve, KeySpec, KeyUsage};

use super::mechanism::OaepHash;
use super::objects::{TemporaryObject, nature, public_key, rsa_public_key};
use super::public_key::PublicKey;
use super::session_calls::{Oaep, SessionCalls};
use super::templates::Lifetime;
use crate::hsm::engine::profile::bindings::AllowedMechanisms;
use crate::hsm::engine::profile::{OaepMethod, Profile};

impl SessionCalls<'_> {
    /// An error unless what the key as it was `made`, or its public half as we keep it, does, `kept` undoes: the secret half as it
    /// will be used.
    pub(in crate::hsm) fn pairwise_test(
        &self,
        material: &Material,
        made: ObjectHandle,
        kept: ObjectHandle,
        profile: &Profile,
    ) -> Result<(), HsmError> {
        match material.usage {
            KeyUsage::EncryptDecrypt => self.test_encryption(material, made, kept, profile.oaep_sha256),
            KeyUsage::SignVerify => {
                let first = SigningAlgorithm::of(material.spec).first();
                first.map_or(Ok(()), |algorithm| self.test_signing(material, kept, *algorithm))
            }
            KeyUsage::GenerateVerifyMac => self.test_mac(material.spec, made, kept),
            KeyUsage::KeyAgreement => self.test_agreement(material, kept),
            KeyUsage::EncapsulateDecapsulate => self.test_encapsulation(material, kept),
        }
    }

    fn test_encryption(
        &self,
        material: &Material,
        made: ObjectHandle,
        kept: ObjectHandle,
        sha256: OaepMethod,
    ) -> Result<(), HsmError> {
        let known = self.unique::<32>()?;
        if material.public_key.is_none() {
            let sealed = self.seal(made, b"pairwise", &known)?;
            return SessionCalls::is_same(&known, &self.open(kept, sealed.iv, b"pairwise", &sealed.ciphertext)?);
        }
        let public = self.put_public(material)?;
        let key = rsa_public_key(material)?;
        let oaep = Oaep { hash: OaepHash::Sha1, sha256 };
        let ciphertext = self.oaep_encrypt(oaep, public.handle, &key, &known)?;
        SessionCalls::is_same(&known, &self.oaep_decrypt(oaep, kept, &key, &ciphertext)?)
    }

    /// One signature, verified here where that is possible, and by the HSM where it is not.
    pub(in crate::hsm) fn test_signing(
        &self,
        material: &Material,
        kept: ObjectHandle,
        algorithm: SigningAlgorithm,
    ) -> Result<(), HsmError> {
        let message = self.unique::<64>()?;
        let input = match algorithm.hash() {
            Some(hash) => hash.digest(&message),
            None => message.to_vec(),
        };
        let signature = self.sign(material.spec, algorithm, kept, &input)?;
        match independently(algorithm, material)? {
            Some((verifier, key)) => independent::UnparsedPublicKey::new(verifier, key)
                .verify(&message, &signature)
                .map_err(|_| HsmError::wrong_answer("self-test")),
            None => {
                let public = self.put_public(material)?;
                self.verify(material.spec, algorithm, public.handle, &input, &signature)
            }
        }
    }

    pub(in crate::hsm) fn test_mac(
        &self,
        spec: KeySpec,
        made: ObjectHandle,
        kept: ObjectHandle,
    ) -> Result<(), HsmError> {
        let message = self.unique::<32>()?;
        MacAlgorithm::of(spec).iter().try_for_each(|algorithm| {
            let mac = self.mac(*algorithm, made, &message)?;
            self.verify_mac(*algorithm, kept, &message, &mac).map_err(|error| match error.kind {
                Kind::Rejected => HsmError::wrong_answer("self-test"),
                _ => error,
            })
        })
    }

    /// Both sides of an agreement with a pair that is made for it come to the same.
    pub(in crate::hsm) fn test_agreement(&self, material: &Material, kept: ObjectHandle) -> Result<(), HsmError> {
        let (curve, ours) = point(&public_key(material)?)?;
        let other = self.generate_key(nature(material), Lifetime::Temporary, AllowedMechanisms::default())?;
        let other_secret = TemporaryObject::new(self.session, other.secret);
        let (other_public, key) = other.public.ok_or_else(|| HsmError::wrong_answer("self-test"))?;
        let _other_public = TemporaryObject::new(self.session, other_public);
        let (_, theirs) = point(&key)?;
        let one = self.agree(curve, kept, &theirs)?;
        SessionCalls::is_same(one.expose(), &self.agree(curve, other_secret.handle, &ours)?)
    }

    pub(in crate::hsm) fn test_encapsulation(&self, material: &Material, kept: ObjectHandle) -> Result<(), HsmError> {
        let public = self.put_public(material)?;
        let made = self.encapsulate(material.spec, public.handle)?;
        SessionCalls::is_same(made.secret.expose(), &self.decapsulate(material.spec, kept, &made.ciphertext)?)
    }
}

fn point(key: &PublicKey) -> Result<(Curve, Vec<u8>), HsmError> {
    match key {
        PublicKey::Point(curve, point) => Ok((*curve, point.clone())),
        _ => Err(HsmError::wrong_answer("self-test")),
    }
}

type Verifier = &'static dyn independent::VerificationAlgorithm;

/// Another implementation that verifies signatures of this algorithm, and the public key in its form: an HSM whose signing and verifying
/// are wrong in the same way agrees with itself and with nobody else.
fn independently(algorithm: SigningAlgorithm, material: &Material) -> Result<Option<(Verifier, Vec<u8>)>, HsmError> {
    use SigningAlgorithm::*;
    let verifier: Verifier = match (algorithm, material.spec) {
        (RsassaPkcs1V15Sha256, _) => &independent::RSA_PKCS1_2048_8192_SHA256,
        (RsassaPkcs1V15Sha384, _) => &independent::RSA_PKCS1_2048_8192_SHA384,
        (RsassaPkcs1V15Sha512, _) => &independent::RSA_PKCS1_2048_8192_SHA512,
        (RsassaPssSha256, _) => &independent::RSA_PSS_2048_8192_SHA256,
        (RsassaPssSha384, _) => &independent::RSA_PSS_2048_8192_SHA384,
        (RsassaPssSha512, _) => &independent::RSA_PSS_2048_8192_SHA512,
        (EcdsaSha256, KeySpec::EccNistP256) => &independent::ECDSA_P256_SHA256_ASN1,
        (EcdsaSha384, KeySpec::EccNistP384) => &independent::ECDSA_P384_SHA384_ASN1,
        (Ed25519Sha512, _) => &independent::ED25519,
        _ => return Ok(None),
    };
    let key = match public_key(material)? {
        PublicKey::Rsa(key) => key.to_pkcs1()?,
        PublicKey::Point(_, bytes) | PublicKey::Bytes(_, bytes) => bytes,
    };
    Ok(Some((verifier, key)))
}
