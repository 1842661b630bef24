//! Material that others have made: it comes encrypted, and is decrypted in the HSM.
//!
//! ```text
//! carrier    an RSA pair made for it, unwrapped for this one call
//! newcomer   the material as an object that may leave: RSA-OAEP, or RSA-OAEP of an AES key and AES key wrap under that
//! measured   is it of the key spec? what is its public half, its fingerprint?
//! kept       wrapped under the wrapping key, seen to come back and to work
//! ```
//!
//! Only where the HSM has no OAEP of its own with SHA-256 and the operator has allowed raw RSA is the padding taken off on this
//! host, which then sees the material.

use std::ops::RangeInclusive;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use der::Decode;
use pkcs8::PrivateKeyInfoRef;
use sec1::EcPrivateKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::{Algorithm, MacAlgorithm, SigningAlgorithm, WrappingAlgorithm};
use crate::key::material::{Keeping, Material, WrapMechanism};
use crate::key::spec::{Curve, KeySpec, KeyUsage};
use crate::secret::SecretBytes;

use super::generating::{NewMaterial, Place, WrapContext};
use super::mechanism::OaepHash;
use super::objects::{TemporaryObject, rsa_public_key};
use super::public_key::{PublicKey, base_point, ec_params, points_at};
use super::session_calls::{Oaep, SessionCalls};
use super::templates::{self, Lifetime};
use super::wrapping;
use crate::hsm::engine::profile::bindings::{self, AllowedMechanisms, Nature};
use crate::hsm::engine::profile::{OaepMethod, Profile};

/// The message for fingerprints of secret keys: the fingerprint is made of the key's own answer to it.
const FINGERPRINT: &[u8; 32] = b"strongroom material fingerprint\0";

/// Bytes that AES key wrap adds (RFC 3394 section 2.2.1).
const WRAP_BYTES: usize = 8;

/// Material that has come in.
#[derive(Serialize, Deserialize)]
pub struct Imported {
    /// The material; its name is the caller's to give.
    pub material: Material,
    /// The same whenever the same material comes again; it says nothing of it.
    pub fingerprint: [u8; 32],
}

/// The encrypted material of an import, and the key pair that opens it.
pub(in crate::hsm) struct EncryptedMaterial<'a> {
    pub(in crate::hsm) carrier: &'a Material,
    pub(in crate::hsm) algorithm: WrappingAlgorithm,
    pub(in crate::hsm) blob: &'a [u8],
}

/// How the padding of an import comes off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unpadding {
    InTheHsm,
    OnThisHost,
}

impl SessionCalls<'_> {
    /// Makes a pair under whose public half material can come.
    pub(in crate::hsm) fn generate_carrier(
        &self,
        order: NewMaterial,
        means: &WrapContext<'_>,
    ) -> Result<Material, HsmError> {
        let wrapping = means.wrapping()?;
        let mechanism = means.mechanism()?;
        let decrypts = means.profile.oaep_sha256 == OaepMethod::RawWithHostUnpadding;
        let nature = Nature { spec: order.spec, usage: KeyUsage::EncryptDecrypt };
        let (public, secret) = self.session.generate_key_pair(
            &super::mechanism::generation(order.spec),
            &templates::public_to_generate(nature),
            &templates::carrier_to_generate(decrypts),
        )?;
        let [secret, public] = [secret, public].map(|half| TemporaryObject::new(self.session, half));
        let key = self.read_public(public.handle)?;
        let blob = self.wrap(mechanism, wrapping.handle, secret.handle)?;
        let keeping = Keeping::Wrapped { blob, mechanism, wrapping_key: wrapping.cka_id.clone() };
        let carrier = order.material(keeping, Some(&PublicKey::Rsa(key)))?;
        // What was kept must open what its public half closes.
        let known = self.unique::<32>()?;
        let oaep = Oaep { hash: OaepHash::Sha1, sha256: means.profile.oaep_sha256 };
        let blob = self.oaep_encrypt(oaep, public.handle, &rsa_public_key(&carrier)?, &known)?;
        let back = self.load_carrier(&carrier, means)?;
        let template = templates::newcomer(Nature { spec: KeySpec::Hmac256, usage: KeyUsage::GenerateVerifyMac });
        let came =
            self.functions.unwrap_by(self.session, &OaepHash::Sha1.mechanism(), back.handle, &blob, &template)?;
        drop(TemporaryObject::new(self.session, came));
        Ok(carrier)
    }

    /// Takes material in and keeps it as `order` says.
    pub(in crate::hsm) fn import(
        &self,
        order: NewMaterial,
        parcel: &EncryptedMaterial<'_>,
        means: &WrapContext<'_>,
    ) -> Result<Imported, HsmError> {
        if !means.profile.wraps(order.spec, order.usage) {
            return Err(unsupported());
        }
        let carrier = self.load_carrier(parcel.carrier, means)?;
        let newcomer = self.unpack(order.nature(), parcel, carrier.handle, means.profile).map_err(blame)?;
        let newcomer = TemporaryObject::new(self.session, newcomer);
        let public = self.measure(order.spec, newcomer.handle, means.mechanism()?).map_err(blame_newcomer)?;
        let fingerprint = self.fingerprint(order.spec, newcomer.handle, public.as_ref()).map_err(blame_newcomer)?;
        let material = self.keep(order, newcomer.handle, public.as_ref(), means)?;
        Ok(Imported { material, fingerprint })
    }

    fn load_carrier(&self, carrier: &Material, means: &WrapContext<'_>) -> Result<TemporaryObject<'_>, HsmError> {
        let Keeping::Wrapped { blob, mechanism, wrapping_key } = &carrier.keeping else {
            return Err(HsmError::new(Kind::Bug, "import", "a carrier is always wrapped"));
        };
        let wrapping = match &means.wrapping {
            Some(key) if key.cka_id == *wrapping_key => key.handle,
            _ => wrapping::find_by_id(*self, wrapping_key)?,
        };
        let decrypts = means.profile.oaep_sha256 == OaepMethod::RawWithHostUnpadding;
        let handle = self.unwrap(*mechanism, wrapping, blob, &templates::carrier_to_unwrap(decrypts))?;
        Ok(TemporaryObject::new(self.session, handle))
    }

    /// The material as an object of this session.
    fn unpack(
        &self,
        nature: Nature,
        parcel: &EncryptedMaterial<'_>,
        carrier: ObjectHandle,
        profile: &Profile,
    ) -> Result<ObjectHandle, HsmError> {
        use WrappingAlgorithm::*;
        let hash = match parcel.algorithm {
            RsaesOaepSha1 | RsaAesKeyWrapSha1 => OaepHash::Sha1,
            RsaesOaepSha256 | RsaAesKeyWrapSha256 => OaepHash::Sha256,
            RsaesPkcs1V15 | Sm2pke => return Err(unsupported()),
        };
        let unpadding = unpadding(hash, profile.oaep_sha256)?;
        let rsa = RsaEncrypted { hash, unpadding, carrier, key: parcel.carrier };
        if matches!(parcel.algorithm, RsaesOaepSha1 | RsaesOaepSha256) {
            return self.unwrap_rsa(&rsa, parcel.blob, nature, &templates::newcomer(nature));
        }
        let k = rsa_public_key(parcel.carrier)?.k();
        let (key, material) = parcel.blob.split_at_checked(k).ok_or_else(rejected)?;
        let kek = self.unwrap_rsa(&rsa, key, bindings::AES, &templates::key_encryption_key())?;
        let kek = TemporaryObject::new(self.session, kek);
        let mechanism = profile.wrap.ok_or_else(unsupported)?;
        self.unwrap(mechanism, kek.handle, material, &templates::newcomer(nature)).map_err(blame_newcomer)
    }

    fn unwrap_rsa(
        &self,
        rsa: &RsaEncrypted<'_>,
        blob: &[u8],
        nature: Nature,
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        let public = rsa_public_key(rsa.key)?;
        if !public.admits(blob) {
            return Err(rejected());
        }
        if rsa.unpadding == Unpadding::InTheHsm {
            return self.functions.unwrap_by(self.session, &rsa.hash.mechanism(), rsa.carrier, blob, template);
        }
        let oaep = Oaep { hash: rsa.hash, sha256: OaepMethod::RawWithHostUnpadding };
        let opened = self.oaep_decrypt(oaep, rsa.carrier, &public, blob)?;
        let mut template = template.to_vec();
        template.extend(value_of(nature, &opened)?);
        Ok(self.session.create_object(&template)?)
    }

    /// Checks that the newcomer is of the spec, and gives its public half, if it has one.
    fn measure(
        &self,
        spec: KeySpec,
        newcomer: ObjectHandle,
        mechanism: WrapMechanism,
    ) -> Result<Option<PublicKey>, HsmError> {
        if let Some(lengths) = spec.imported_bytes() {
            let bytes = self.length_of(newcomer, mechanism)?;
            // A length that is not known exactly may be right; see `length_of`.
            let fits = lengths.contains(bytes.start()) || lengths.contains(bytes.end());
            return if fits { Ok(None) } else { Err(unfit("its length is not that of the spec")) };
        }
        if let Some(bits) = spec.modulus_bits() {
            let key = self.read_public(newcomer)?;
            let fits = key.k() == bits as usize / 8 && key.modulus.first().is_some_and(|byte| *byte >= 0x80);
            return if fits {
                Ok(Some(PublicKey::Rsa(key)))
            } else {
                Err(unfit("its modulus is not that of the spec"))
            };
        }
        let curve = spec.curve().ok_or_else(unsupported)?;
        let params = self.session.get_attributes(newcomer, &[AttributeType::EcParams])?;
        match params.into_iter().next() {
            Some(Attribute::EcParams(params)) if Some(&params) == ec_params(spec).as_ref() => {
                self.public_half(spec, curve, newcomer).map(Some)
            }
            _ => Err(unfit("its curve is not that of the spec")),
        }
    }

    /// How many bytes a secret key has. Some HSMs do not tell (SoftHSM2: 0). There, a wrap shows it to a multiple of 8, and that
    /// a key is some bytes too short, the HSM says when it is used: the fingerprint does.
    fn length_of(&self, secret: ObjectHandle, mechanism: WrapMechanism) -> Result<RangeInclusive<usize>, HsmError> {
        let told = self.session.get_attributes(secret, &[AttributeType::ValueLen])?.into_iter().next();
        if let Some(Attribute::ValueLen(length)) = told
            && u64::from(length) > 0
        {
            let length = usize::try_from(u64::from(length)).map_err(|_| rejected())?;
            return Ok(length..=length);
        }
        let template = templates::wrapping_key(Lifetime::Leased, AllowedMechanisms::default());
        let wrapping = self.session.generate_key(&Mechanism::AesKeyGen, &template)?;
        let wrapping = TemporaryObject::new(self.session, wrapping);
        let most = self.wrap(mechanism, wrapping.handle, secret)?.len().saturating_sub(WRAP_BYTES);
        Ok(most.saturating_sub(7)..=most)
    }

    /// The point of a private key, which HSMs do not tell: agreeing with the base point gives its x, and which of the two
    /// points there is meant, a signature shows.
    fn public_half(&self, spec: KeySpec, curve: Curve, key: ObjectHandle) -> Result<PublicKey, HsmError> {
        let x = self.agree(curve, key, &base_point(curve))?;
        let algorithm = SigningAlgorithm::of(spec).first().copied().ok_or_else(unsupported)?;
        let digest = algorithm.hash().map(|hash| hash.digest(FINGERPRINT)).unwrap_or_default();
        let signature = self.sign(spec, algorithm, key, &digest)?;
        let nature = Nature { spec, usage: KeyUsage::SignVerify };
        for point in points_at(curve, x.expose()) {
            let candidate = PublicKey::Point(curve, point);
            let public = self.session.create_object(&templates::public_to_create(nature, &candidate))?;
            let public = TemporaryObject::new(self.session, public);
            if self.verify(spec, algorithm, public.handle, &digest, &signature).is_ok() {
                return Ok(candidate);
            }
        }
        Err(HsmError::wrong_answer("import"))
    }

    /// The same for the same material, whichever HSM has it.
    fn fingerprint(&self, spec: KeySpec, key: ObjectHandle, public: Option<&PublicKey>) -> Result<[u8; 32], HsmError> {
        let telling = match (public, MacAlgorithm::of(spec).first()) {
            (Some(public), _) => public.to_spki()?,
            (None, Some(algorithm)) => self.mac(*algorithm, key, FINGERPRINT)?,
            // An IV of its own, and never another plaintext under it: random IVs do not come near it in any number of years.
            (None, None) => self.seal_with(key, [0; 12], FINGERPRINT, &[0; 32])?,
        };
        Ok(Sha256::new().chain_update(FINGERPRINT).chain_update(telling).finalize().into())
    }

    fn keep(
        &self,
        order: NewMaterial,
        newcomer: ObjectHandle,
        public: Option<&PublicKey>,
        means: &WrapContext<'_>,
    ) -> Result<Material, HsmError> {
        let nature = order.nature();
        let allowed = means.profile.allowed;
        let wrapping = means.wrapping()?;
        let mechanism = means.mechanism()?;
        let blob = self.wrap(mechanism, wrapping.handle, newcomer)?;
        let unwrap = |life| {
            let template = templates::to_unwrap_as(nature, life, allowed);
            self.unwrap(mechanism, wrapping.handle, &blob, &template)
        };
        let Place::Token { cka_id } = order.place else {
            let back = TemporaryObject::new(self.session, unwrap(Lifetime::Leased)?);
            let keeping = Keeping::Wrapped { blob: blob.clone(), mechanism, wrapping_key: wrapping.cka_id.clone() };
            let material = order.material(keeping, public)?;
            return self.pairwise_test(&material, back.handle, back.handle, means.profile).map(|()| material);
        };
        let label = format!("strongroom {}", order.id);
        let stored = unwrap(Lifetime::Token { cka_id: &cka_id, label: &label })?;
        let material = order.material(Keeping::Token { cka_id: cka_id.to_vec(), member: None }, public)?;
        let checked = self
            .find_stored(&material, &cka_id)
            .and_then(|found| self.pairwise_test(&material, stored, found, means.profile));
        if checked.is_err() {
            drop(TemporaryObject::new(self.session, stored));
        }
        checked.map(|()| material)
    }
}

/// A key that is encrypted by RSA, and how it is opened.
struct RsaEncrypted<'a> {
    hash: OaepHash,
    unpadding: Unpadding,
    carrier: ObjectHandle,
    key: &'a Material,
}

fn unpadding(hash: OaepHash, sha256: OaepMethod) -> Result<Unpadding, HsmError> {
    match (hash, sha256) {
        (OaepHash::Sha1, _) | (OaepHash::Sha256, OaepMethod::Native) => Ok(Unpadding::InTheHsm),
        (OaepHash::Sha256, OaepMethod::RawWithHostUnpadding) => Ok(Unpadding::OnThisHost),
        (OaepHash::Sha256, OaepMethod::Refused) => Err(unsupported()),
    }
}

/// The attributes of an object whose material this host has seen.
fn value_of(nature: Nature, material: &SecretBytes) -> Result<Vec<Attribute>, HsmError> {
    let Some(curve) = nature.spec.curve() else {
        return Ok(vec![Attribute::Value(material.expose().to_vec())]);
    };
    let info = PrivateKeyInfoRef::from_der(material.expose()).map_err(|_| unfit("it is no PKCS#8"))?;
    let key = EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(|_| unfit("it is no key of a curve"))?;
    let params = ec_params(nature.spec).ok_or_else(unsupported)?;
    let named = info.algorithm.parameters_oid().ok().and_then(|oid| der::Encode::to_der(&oid).ok());
    if named.as_ref() != Some(&params) || key.private_key.len() > curve.bytes() {
        return Err(unfit("its curve is not that of the spec"));
    }
    let mut scalar = Zeroizing::new(vec![0; curve.bytes()]);
    let start = scalar.len() - key.private_key.len();
    scalar[start..].copy_from_slice(key.private_key);
    Ok(vec![Attribute::Value(scalar.to_vec()), Attribute::EcParams(params)])
}

/// Whose fault it is that material did not come in: what modules say of wrapped keys is said of the caller's.
fn blame(error: HsmError) -> HsmError {
    let kind = match (error.kind, &*error.code) {
        (Kind::KeyMissing, "CKR_WRAPPED_KEY_INVALID" | "CKR_WRAPPED_KEY_LEN_RANGE") => Kind::Ambiguous,
        (Kind::KeyMissing, "CKR_KEY_TYPE_INCONSISTENT") => Kind::Unfit,
        (Kind::Unsupported, "CKR_KEY_SIZE_RANGE" | "CKR_ATTRIBUTE_VALUE_INVALID" | "CKR_TEMPLATE_INCONSISTENT") => {
            Kind::Unfit
        }
        (kind, _) => kind,
    };
    HsmError { kind, ..error }
}

/// The same, of what the HSM does with every key of the spec: one that it refuses is none.
fn blame_newcomer(error: HsmError) -> HsmError {
    match error.kind {
        Kind::Unsupported if error.is_answer() => error.with_kind(Kind::Unfit),
        _ => blame(error),
    }
}

fn unfit(text: &'static str) -> HsmError {
    HsmError::new(Kind::Unfit, "import", text)
}

fn rejected() -> HsmError {
    HsmError::new(Kind::Rejected, "import", "it is not as long as what is wrapped so")
}

fn unsupported() -> HsmError {
    HsmError::new(Kind::Unsupported, "import", "this HSM does not take in such material")
}
