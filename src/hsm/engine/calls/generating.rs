//! New material: made, put where it is kept, seen to work.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use serde::{Deserialize, Serialize};

use crate::key::material::{Keeping, Material, MaterialId, WrapMechanism};
use crate::key::spec::{KeySpec, KeyUsage};

use super::mechanism;
use super::objects::TemporaryObject;
use super::public_key::{PublicKey, RsaPublicKey};
use super::session_calls::SessionCalls;
use super::templates::{self, Lifetime};
use super::wrapping::WrappingKey;
use crate::hsm::engine::profile::Profile;
use crate::hsm::engine::profile::bindings::{AllowedMechanisms, Nature};
use crate::hsm::error::{HsmError, Kind};

/// Where new material is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Outside the HSM, wrapped under the wrapping key.
    Wrapped,
    /// On the HSM, as a token object.
    Token {
        /// The random CKA_ID under which it will be found again; recorded by the caller before the command is sent.
        cka_id: [u8; 16],
    },
}

/// A key that has just been generated: its secret half and, for a pair, its public half.
pub(in crate::hsm) struct Generated {
    pub(in crate::hsm) secret: ObjectHandle,
    pub(in crate::hsm) public: Option<(ObjectHandle, PublicKey)>,
}

impl Generated {
    /// The halves of an RSA key pair, and what is public of it.
    pub(in crate::hsm) fn rsa(self) -> Result<(ObjectHandle, ObjectHandle, RsaPublicKey), HsmError> {
        match self.public {
            Some((public, PublicKey::Rsa(key))) => Ok((self.secret, public, key)),
            _ => Err(HsmError::new(Kind::Bug, "generate", "no RSA key pair")),
        }
    }
}

/// The description of new material.
#[derive(Clone, Copy)]
pub(in crate::hsm) struct NewMaterial {
    pub(in crate::hsm) id: MaterialId,
    pub(in crate::hsm) spec: KeySpec,
    pub(in crate::hsm) usage: KeyUsage,
    pub(in crate::hsm) place: Place,
}

impl NewMaterial {
    pub(in crate::hsm) fn nature(self) -> Nature {
        Nature { spec: self.spec, usage: self.usage }
    }

    pub(in crate::hsm) fn material(self, keeping: Keeping, public: Option<&PublicKey>) -> Result<Material, HsmError> {
        let public_key = public.map(PublicKey::to_spki).transpose()?;
        Ok(Material { id: self.id, spec: self.spec, usage: self.usage, keeping, public_key })
    }
}

/// The HSM's profile and wrapping key, which generation needs.
pub(in crate::hsm) struct WrapContext<'a> {
    pub(in crate::hsm) profile: &'a Profile,
    pub(in crate::hsm) wrapping: Option<WrappingKey>,
}

impl WrapContext<'_> {
    pub(in crate::hsm) fn wrapping(&self) -> Result<&WrappingKey, HsmError> {
        self.wrapping.as_ref().ok_or_else(super::wrapping::missing)
    }

    pub(in crate::hsm) fn mechanism(&self) -> Result<WrapMechanism, HsmError> {
        let none = || HsmError::new(Kind::Unsupported, "generate", "this HSM has no AES key wrap with padding");
        self.profile.wrap.ok_or_else(none)
    }
}

impl SessionCalls<'_> {
    /// Makes new material and sees it work before it says so.
    pub(in crate::hsm) fn generate(&self, order: NewMaterial, means: &WrapContext<'_>) -> Result<Material, HsmError> {
        if !means.profile.supports(order.spec, order.usage) {
            let text = format!("this HSM does not do {} for {}", order.spec, order.usage);
            return Err(HsmError::new(Kind::Unsupported, "generate", text));
        }
        match order.place {
            Place::Wrapped => self.generate_wrapped(order, means),
            Place::Token { cka_id } => self.generate_stored(order, means.profile, cka_id),
        }
    }

    fn generate_wrapped(&self, order: NewMaterial, means: &WrapContext<'_>) -> Result<Material, HsmError> {
        let wrapping = means.wrapping()?;
        let mechanism = means.mechanism()?;
        let allowed = means.profile.allowed;
        let made = self.generate_key(order.nature(), Lifetime::Temporary, allowed)?;
        let _secret = TemporaryObject::new(self.session, made.secret);
        let _public = made.public.as_ref().map(|(handle, _)| TemporaryObject::new(self.session, *handle));

        let blob = self.wrap(mechanism, wrapping.handle, made.secret)?;
        let back = self.unwrap(mechanism, wrapping.handle, &blob, &templates::to_unwrap(order.nature(), allowed))?;
        let back = TemporaryObject::new(self.session, back);
        let keeping = Keeping::Wrapped { blob, mechanism, wrapping_key: wrapping.cka_id.clone() };
        let material = order.material(keeping, made.public.as_ref().map(|(_, key)| key))?;
        self.pairwise_test(&material, made.secret, back.handle, means.profile)?;
        Ok(material)
    }

    fn generate_stored(&self, order: NewMaterial, profile: &Profile, cka_id: [u8; 16]) -> Result<Material, HsmError> {
        // The id is random, so whatever has it is the rest of an earlier attempt, which only its recorder may destroy.
        if !self.find_all(order.spec, &cka_id)?.is_empty() {
            let text = "an earlier attempt left an object with this CKA_ID";
            return Err(HsmError::new(Kind::SessionLost, "generate", text));
        }
        let label = format!("strongroom {}", order.id);
        let life = Lifetime::Token { cka_id: &cka_id, label: &label };
        let made = self.generate_key(order.nature(), life, profile.allowed)?;
        let _public = made.public.as_ref().map(|(handle, _)| TemporaryObject::new(self.session, *handle));
        let keeping = Keeping::Token { cka_id: cka_id.to_vec(), member: None };
        let checked = order.material(keeping, made.public.as_ref().map(|(_, key)| key)).and_then(|material| {
            // Through the handle that a later find gives, because that is how it will be used.
            let found = self.find_stored(&material, &cka_id)?;
            self.pairwise_test(&material, made.secret, found, profile).map(|()| material)
        });
        if checked.is_err() {
            drop(TemporaryObject::new(self.session, made.secret));
        }
        checked
    }

    /// Makes a key in the HSM; the public half of a pair is always a session object.
    pub(in crate::hsm) fn generate_key(
        &self,
        nature: Nature,
        life: Lifetime<'_>,
        allowed: AllowedMechanisms,
    ) -> Result<Generated, HsmError> {
        let mechanism = mechanism::generation(nature.spec);
        let template = templates::to_generate(nature, life, allowed);
        if !nature.spec.is_asymmetric() {
            let secret = self.session.generate_key(&mechanism, &template)?;
            return Ok(Generated { secret, public: None });
        }
        let public_template = templates::public_to_generate(nature);
        let (public, secret) = self.session.generate_key_pair(&mechanism, &public_template, &template)?;
        let key = self.read_public_key(nature.spec, public).inspect_err(|_| {
            [secret, public].into_iter().for_each(|half| drop(TemporaryObject::new(self.session, half)));
        })?;
        Ok(Generated { secret, public: Some((public, key)) })
    }

    /// Reads the public key out of a public key object.
    fn read_public_key(&self, spec: KeySpec, handle: ObjectHandle) -> Result<PublicKey, HsmError> {
        if spec.modulus_bits().is_some() {
            return self.read_public(handle).map(PublicKey::Rsa);
        }
        let is_point = spec.curve().is_some() || spec == KeySpec::EccNistEdwards25519;
        let wanted = if is_point { AttributeType::EcPoint } else { AttributeType::Value };
        match self.session.get_attributes(handle, &[wanted])?.into_iter().next() {
            Some(Attribute::EcPoint(point)) => PublicKey::from_ec_point(spec, &point),
            Some(Attribute::Value(bytes)) => Ok(PublicKey::Bytes(spec, bytes)),
            _ => Err(HsmError::nonsense("C_GetAttributeValue", "a public key without its value")),
        }
    }

    /// A session object of the public half of `material`, as it is kept here.
    pub(in crate::hsm) fn put_public(&self, material: &Material) -> Result<TemporaryObject<'_>, HsmError> {
        Ok(TemporaryObject::new(self.session, self.load_public(material)?.handle))
    }
}
