//! The objects behind material: making them, finding them, seeing that they work, destroying them.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};

use crate::key::material::{Keeping, Material, MaterialId};
use crate::key::spec::{KeySpec, KeyUsage};

use super::capability::Profile;
use super::crypto::{Line, Oaep};
use super::mechanism::{self, Allowed, Life, OaepHash};
use super::public_key::{RsaPublicKey, without_leading_zeros};
use super::wrapping::WrappingKey;
use crate::hsm::command::Place;
use crate::hsm::error::{HsmError, Kind};

/// A session object that is destroyed when it goes out of scope, whatever happened.
pub(super) struct Passing<'a> {
    session: &'a Session,
    pub(super) handle: ObjectHandle,
}

impl<'a> Passing<'a> {
    pub(super) fn new(session: &'a Session, handle: ObjectHandle) -> Self {
        Self { session, handle }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.session.destroy_object(self.handle) {
            tracing::debug!(%error, "a session object was not destroyed; it goes with its session");
        }
    }
}

/// A key that has just been generated: its secret half and, for a pair, its public half.
pub(super) struct Generated {
    pub(super) secret: ObjectHandle,
    pub(super) public: Option<(ObjectHandle, RsaPublicKey)>,
}

/// What new material is to be.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) id: MaterialId,
    pub(super) spec: KeySpec,
    pub(super) usage: KeyUsage,
    pub(super) place: Place,
}

/// What generation needs to know about this HSM.
pub(super) struct Means<'a> {
    pub(super) profile: &'a Profile,
    pub(super) wrapping: Option<WrappingKey>,
}

impl Line<'_> {
    /// Makes new material and sees it work before it says so.
    pub(super) fn generate(&self, order: Order, means: &Means<'_>) -> Result<Material, HsmError> {
        if !means.profile.supports(order.spec, order.usage) {
            let text = format!("this HSM does not do {} for {}", order.spec, order.usage);
            return Err(HsmError::new(Kind::Unsupported, "generate", text));
        }
        match order.place {
            Place::Wrapped => self.generate_wrapped(order, means),
            Place::Token { cka_id } => self.generate_stored(order, means.profile, cka_id),
        }
    }

    fn generate_wrapped(&self, order: Order, means: &Means<'_>) -> Result<Material, HsmError> {
        let wrapping = means.wrapping.as_ref().ok_or_else(super::wrapping::missing)?;
        let mechanism = means
            .profile
            .wrap
            .ok_or_else(|| HsmError::new(Kind::Unsupported, "generate", "this HSM has no AES key wrap with padding"))?;
        let allowed = means.profile.allowed;
        let made = self.generate_key(order.spec, Life::Passing, allowed)?;
        let _secret = Passing::new(self.session, made.secret);
        let _public = made.public.as_ref().map(|(handle, _)| Passing::new(self.session, *handle));

        let blob = self.wrap(mechanism, wrapping.handle, made.secret)?;
        let back = self.unwrap(mechanism, wrapping.handle, &blob, &unwrap_template(order.spec, allowed))?;
        let back = Passing::new(self.session, back);
        let keeping = Keeping::Wrapped { blob, mechanism, wrapping_key: wrapping.cka_id.clone() };
        let material = material(order, keeping, made.public.map(|(_, key)| key))?;
        self.pairwise_test(&material, made.secret, back.handle, means.profile)?;
        Ok(material)
    }

    fn generate_stored(&self, order: Order, profile: &Profile, cka_id: [u8; 16]) -> Result<Material, HsmError> {
        // The id is random, so whatever has it is the rest of an earlier attempt, which only its recorder may destroy.
        if !self.find_all(order.spec, &cka_id)?.is_empty() {
            return Err(HsmError::new(
                Kind::SessionLost,
                "generate",
                "an earlier attempt left an object with this CKA_ID",
            ));
        }
        let label = format!("strongroom {}", order.id);
        let life = Life::Token { cka_id: &cka_id, label: &label };
        let made = self.generate_key(order.spec, life, profile.allowed)?;
        let _public = made.public.as_ref().map(|(handle, _)| Passing::new(self.session, *handle));
        let keeping = Keeping::Token { cka_id: cka_id.to_vec(), member: None };
        let checked = material(order, keeping, made.public.as_ref().map(|(_, key)| key.clone())).and_then(|material| {
            // Through the handle that a later find gives, because that is how it will be used.
            let found = self.find_stored(&material, &cka_id)?;
            self.pairwise_test(&material, made.secret, found, profile).map(|()| material)
        });
        if checked.is_err() {
            drop(Passing::new(self.session, made.secret));
        }
        checked
    }

    /// Makes a key in the HSM; the public half of a pair is always a session object.
    pub(super) fn generate_key(&self, spec: KeySpec, life: Life<'_>, allowed: Allowed) -> Result<Generated, HsmError> {
        let Some(bits) = spec.modulus_bits() else {
            let template = mechanism::aes_to_generate(life, allowed);
            let secret = self.session.generate_key(&Mechanism::AesKeyGen, &template)?;
            return Ok(Generated { secret, public: None });
        };
        let (public, secret) = self.session.generate_key_pair(
            &Mechanism::RsaPkcsKeyPairGen,
            &mechanism::rsa_public_to_generate(bits),
            &mechanism::rsa_private_to_generate(life, allowed),
        )?;
        let key = self.read_public(public).inspect_err(|_| {
            [secret, public].into_iter().for_each(|half| drop(Passing::new(self.session, half)));
        })?;
        Ok(Generated { secret, public: Some((public, key)) })
    }

    /// Whether what the key as it was `made` or its public half as we keep it does, `kept` undoes: the secret half as it will
    /// be used.
    fn pairwise_test(
        &self,
        material: &Material,
        made: ObjectHandle,
        kept: ObjectHandle,
        profile: &Profile,
    ) -> Result<(), HsmError> {
        let known = self.unique::<32>()?;
        let opened = match &material.public_key {
            None => {
                let sealed = self.seal(made, b"pairwise", &known)?;
                self.open(kept, sealed.iv, b"pairwise", &sealed.ciphertext)?
            }
            Some(_) => {
                let public = Passing::new(self.session, self.load_public(material)?.handle);
                let (key, oaep) = (public_key(material)?, Oaep { hash: OaepHash::Sha1, sha256: profile.oaep_sha256 });
                let ciphertext = self.oaep_encrypt(oaep, public.handle, &key, &known)?;
                self.oaep_decrypt(oaep, kept, &key, &ciphertext)?
            }
        };
        Line::is_same(&known, &opened)
    }

    /// The public half of an RSA key object; its private half has the same two attributes.
    pub(super) fn read_public(&self, handle: ObjectHandle) -> Result<RsaPublicKey, HsmError> {
        let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
        let (mut modulus, mut exponent) = (None, None);
        for attribute in self.session.get_attributes(handle, &wanted)? {
            match attribute {
                Attribute::Modulus(bytes) => modulus = Some(without_leading_zeros(&bytes)),
                Attribute::PublicExponent(bytes) => exponent = Some(without_leading_zeros(&bytes)),
                _ => {}
            }
        }
        match (modulus, exponent) {
            (Some(modulus), Some(exponent)) => Ok(RsaPublicKey { modulus, exponent }),
            _ => Err(HsmError::nonsense("C_GetAttributeValue", "an RSA key without modulus or exponent")),
        }
    }

    /// The token object of `material`: by CKA_ID and class, and for a pair only if the public half is ours.
    pub(super) fn find_stored(&self, material: &Material, cka_id: &[u8]) -> Result<ObjectHandle, HsmError> {
        let handles = self.find_all(material.spec, cka_id)?;
        let (first, others) = handles.split_first().ok_or_else(|| not_found("no object has the key's CKA_ID"))?;
        for other in others {
            // SoftHSM2 shared by two processes may show the one object twice.
            if self.likeness(*other)? != self.likeness(*first)? {
                return Err(not_found("two different objects have the key's CKA_ID"));
            }
        }
        if let Some(spki) = &material.public_key
            && self.read_public(*first)?.modulus != RsaPublicKey::from_spki(spki)?.modulus
        {
            return Err(not_found("the object with the key's CKA_ID is another key"));
        }
        Ok(*first)
    }

    /// Every handle of a secret or private key on the token with this CKA_ID.
    fn find_all(&self, spec: KeySpec, cka_id: &[u8]) -> Result<Vec<ObjectHandle>, HsmError> {
        self.find(&mechanism::token_object(class(spec), cka_id))
    }

    /// Every object that this session sees and that has these attributes.
    pub(super) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, HsmError> {
        self.calls.find(self.session, template)
    }

    /// What two handles of one object have in common, and two objects have not.
    fn likeness(&self, handle: ObjectHandle) -> Result<Vec<Attribute>, HsmError> {
        let telling = [AttributeType::Label, AttributeType::CheckValue, AttributeType::Modulus];
        Ok(self.session.get_attributes(handle, &telling)?)
    }

    /// A handle of the secret half of `material`, new in this session or found on the token.
    pub(super) fn load_secret(
        &self,
        material: &Material,
        allowed: Allowed,
        wrapping: impl Fn(&[u8]) -> Result<ObjectHandle, HsmError>,
    ) -> Result<Loaded, HsmError> {
        match &material.keeping {
            Keeping::Token { cka_id, .. } => Ok(Loaded { handle: self.find_stored(material, cka_id)?, ours: false }),
            Keeping::Wrapped { blob, mechanism, wrapping_key } => {
                let template = unwrap_template(material.spec, allowed);
                let handle = self.unwrap(*mechanism, wrapping(wrapping_key)?, blob, &template)?;
                Ok(Loaded { handle, ours: true })
            }
        }
    }

    /// A handle of the public half of `material`: a session object made from the public key that we keep.
    pub(super) fn load_public(&self, material: &Material) -> Result<Loaded, HsmError> {
        let key = public_key(material)?;
        let handle = self.session.create_object(&mechanism::rsa_public_to_create(&key))?;
        Ok(Loaded { handle, ours: true })
    }

    /// Destroys the token objects of probes that were killed, and says how many: those with the probe's label, of the kind
    /// that it makes, and with an id of the length that it gives.
    pub(super) fn destroy_left_by_a_probe(&self) -> Result<usize, HsmError> {
        let mut count = 0;
        for handle in self.find(&mechanism::left_by_a_probe())? {
            let id = self.session.get_attributes(handle, &[AttributeType::Id])?;
            if matches!(&id[..], [Attribute::Id(id)] if id.len() == 16) {
                self.session.destroy_object(handle)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Destroys every object with the CKA_ID of `material`.
    pub(super) fn destroy_stored(&self, material: &Material, cka_id: &[u8]) -> Result<(), HsmError> {
        for handle in self.find_all(material.spec, cka_id)? {
            match self.session.destroy_object(handle).map_err(HsmError::from) {
                // The second handle of an object that the first has destroyed.
                Err(error) if error.kind == Kind::KeyMissing => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Whether this session sees private objects: to one who is not logged in they are not there.
    pub(super) fn is_logged_in(&self) -> Result<(), HsmError> {
        match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => Ok(()),
            _ => Err(HsmError::new(Kind::LoggedOut, "C_GetSessionInfo", "the token forgot our login")),
        }
    }

    /// Why an object is missing. Only after a failure is it worth asking.
    pub(super) fn explain(&self, error: HsmError) -> HsmError {
        match error.kind {
            Kind::KeyMissing | Kind::NoWrappingKey => self.is_logged_in().err().unwrap_or(error),
            _ => error,
        }
    }

    /// Whether no object has the CKA_ID of `material` any more.
    pub(super) fn see_gone(&self, material: &Material, cka_id: &[u8]) -> Result<(), HsmError> {
        match self.find_all(material.spec, cka_id)?.is_empty() {
            true => Ok(()),
            false => Err(HsmError::new(Kind::DeviceLost, "C_DestroyObject", "the object is still there")),
        }
    }
}

/// A handle for the cache, and whether it is of an object of ours that must be destroyed after use.
pub(super) struct Loaded {
    pub(super) handle: ObjectHandle,
    pub(super) ours: bool,
}

/// The public half of an RSA key pair, as we keep it.
pub(super) fn public_key(material: &Material) -> Result<RsaPublicKey, HsmError> {
    let spki = material.public_key.as_deref();
    RsaPublicKey::from_spki(spki.ok_or_else(|| not_found("the material has no public key"))?)
}

fn material(order: Order, keeping: Keeping, public: Option<RsaPublicKey>) -> Result<Material, HsmError> {
    let public_key = public.map(|key| key.to_spki()).transpose()?;
    Ok(Material { id: order.id, spec: order.spec, usage: order.usage, keeping, public_key })
}

fn class(spec: KeySpec) -> ObjectClass {
    match spec.is_asymmetric() {
        true => ObjectClass::PRIVATE_KEY,
        false => ObjectClass::SECRET_KEY,
    }
}

pub(super) fn unwrap_template(spec: KeySpec, allowed: Allowed) -> Vec<Attribute> {
    match spec.modulus_bits() {
        Some(_) => mechanism::rsa_private_to_unwrap(allowed),
        None => mechanism::aes_to_unwrap(allowed),
    }
}

fn not_found(text: &'static str) -> HsmError {
    HsmError::new(Kind::KeyMissing, "find key", text)
}
