//! The objects behind material: finding them, loading them, destroying them.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session, SessionState};

use crate::key::material::{Keeping, Material};
use crate::key::spec::KeySpec;

use super::public_key::{PublicKey, RsaPublicKey, without_leading_zeros};
use super::session_calls::{Oaep, SessionCalls};
use super::templates::{self, class};
use crate::hsm::engine::profile::bindings::{self, AllowedMechanisms, Nature};
use crate::hsm::error::{HsmError, Kind};

/// A session object that is destroyed when it goes out of scope, whatever happened.
pub(in crate::hsm) struct TemporaryObject<'a> {
    session: &'a Session,
    pub(in crate::hsm) handle: ObjectHandle,
}

impl<'a> TemporaryObject<'a> {
    pub(in crate::hsm) fn new(session: &'a Session, handle: ObjectHandle) -> Self {
        Self { session, handle }
    }
}

impl Drop for TemporaryObject<'_> {
    fn drop(&mut self) {
        let destroy = || self.session.destroy_object(self.handle);
        // Once more: its session may live for long, and a key that can be wrapped would live with it.
        if let Err(error) = destroy().or_else(|_| destroy()) {
            tracing::debug!(%error, "a session object was not destroyed; it goes with its session");
        }
    }
}

impl SessionCalls<'_> {
    /// The public half of an RSA key object; its private half has the same two attributes.
    pub(in crate::hsm) fn read_public(&self, handle: ObjectHandle) -> Result<RsaPublicKey, HsmError> {
        let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
        let mut modulus = None;
        let mut exponent = None;
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
    pub(in crate::hsm) fn find_stored(&self, material: &Material, cka_id: &[u8]) -> Result<ObjectHandle, HsmError> {
        let handles = self.find_all(material.spec, cka_id)?;
        let (first, others) = handles.split_first().ok_or_else(|| not_found("no object has the key's CKA_ID"))?;
        for other in others {
            // SoftHSM2 shared by two processes may show the one object twice.
            if self.likeness(*other)? != self.likeness(*first)? {
                return Err(not_found("two different objects have the key's CKA_ID"));
            }
        }
        // The only private keys that say whose they are; others show it when their first signature is proved.
        if material.spec.modulus_bits().is_some()
            && self.read_public(*first)?.modulus != rsa_public_key(material)?.modulus
        {
            return Err(not_found("the object with the key's CKA_ID is another key"));
        }
        Ok(*first)
    }

    /// Every handle of a secret or private key on the token with this CKA_ID.
    pub(in crate::hsm) fn find_all(&self, spec: KeySpec, cka_id: &[u8]) -> Result<Vec<ObjectHandle>, HsmError> {
        self.find(&templates::token_object(class(spec), cka_id))
    }

    /// Every object that this session sees and that has these attributes.
    pub(in crate::hsm) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, HsmError> {
        self.functions.find(self.session, template)
    }

    /// Attributes that two handles of one object have in common, and two objects have not.
    fn likeness(&self, handle: ObjectHandle) -> Result<Vec<Attribute>, HsmError> {
        let telling = [AttributeType::Label, AttributeType::CheckValue, AttributeType::Modulus];
        Ok(self.session.get_attributes(handle, &telling)?)
    }

    /// A handle of the secret half of `material`, new in this session or found on the token.
    pub(in crate::hsm) fn load_secret(
        &self,
        material: &Material,
        allowed: AllowedMechanisms,
        wrapping: impl Fn(&[u8]) -> Result<ObjectHandle, HsmError>,
    ) -> Result<Loaded, HsmError> {
        match &material.keeping {
            Keeping::Token { cka_id, .. } => Ok(Loaded { handle: self.find_stored(material, cka_id)?, ours: false }),
            Keeping::Wrapped { blob, mechanism, wrapping_key } => {
                let template = templates::to_unwrap(nature(material), allowed);
                let handle = self.unwrap(*mechanism, wrapping(wrapping_key)?, blob, &template)?;
                Ok(Loaded { handle, ours: true })
            }
        }
    }

    /// A handle of the public half of `material`: a session object made from the public key that we keep.
    pub(in crate::hsm) fn load_public(&self, material: &Material) -> Result<Loaded, HsmError> {
        let key = public_key(material)?;
        let handle = self.session.create_object(&templates::public_to_create(nature(material), &key))?;
        Ok(Loaded { handle, ours: true })
    }

    /// RSAES-OAEP under a public key that is brought into the HSM for this one call.
    pub(in crate::hsm) fn oaep_encrypt_for(
        &self,
        oaep: Oaep,
        key: RsaPublicKey,
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let template = templates::public_to_create(bindings::RSA, &PublicKey::Rsa(key.clone()));
        let public = TemporaryObject::new(self.session, self.session.create_object(&template)?);
        self.oaep_encrypt(oaep, public.handle, &key, input)
    }

    /// Destroys the token objects of probes that were killed, and says how many: those with the probe's label, of the kind
    /// that it makes, and with an id of the length that it gives.
    pub(in crate::hsm) fn destroy_left_by_a_probe(&self) -> Result<usize, HsmError> {
        let mut count = 0;
        for handle in self.find(&templates::left_by_a_probe())? {
            let id = self.session.get_attributes(handle, &[AttributeType::Id])?;
            if matches!(&id[..], [Attribute::Id(id)] if id.len() == 16) {
                self.session.destroy_object(handle)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Destroys every object with the CKA_ID of `material`.
    pub(in crate::hsm) fn destroy_stored(&self, material: &Material, cka_id: &[u8]) -> Result<(), HsmError> {
        for handle in self.find_all(material.spec, cka_id)? {
            match self.session.destroy_object(handle).map_err(HsmError::from) {
                // The second handle of an object that the first has destroyed.
                Err(error) if error.kind == Kind::KeyMissing => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// An error unless this session sees private objects: to one who is not logged in they are not there.
    pub(in crate::hsm) fn is_logged_in(&self) -> Result<(), HsmError> {
        match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => Ok(()),
            _ => Err(HsmError::new(Kind::LoggedOut, "C_GetSessionInfo", "the token forgot our login")),
        }
    }

    /// Why an object is missing, or what an ambiguous code is about: Kryoptic has none but CKR_GENERAL_ERROR for whoever is
    /// not logged in. Only after a failure is it worth asking.
    pub(in crate::hsm) fn explain(&self, error: HsmError) -> HsmError {
        match error.kind {
            Kind::KeyMissing | Kind::NoWrappingKey => self.is_logged_in().err().unwrap_or(error),
            Kind::Ambiguous => self.is_logged_in().err().filter(|why| why.kind == Kind::LoggedOut).unwrap_or(error),
            _ => error,
        }
    }

    /// An error unless no object has the CKA_ID of `material` any more.
    pub(in crate::hsm) fn see_gone(&self, material: &Material, cka_id: &[u8]) -> Result<(), HsmError> {
        match self.find_all(material.spec, cka_id)?.is_empty() {
            true => Ok(()),
            false => Err(HsmError::new(Kind::DeviceLost, "C_DestroyObject", "the object is still there")),
        }
    }
}

/// A handle for the cache, and whether it is of an object of ours that must be destroyed after use.
pub(in crate::hsm) struct Loaded {
    pub(in crate::hsm) handle: ObjectHandle,
    pub(in crate::hsm) ours: bool,
}

/// The key spec and usage of the objects of material.
pub(in crate::hsm) fn nature(material: &Material) -> Nature {
    Nature { spec: material.spec, usage: material.usage }
}

/// The public half of a key pair, as we keep it.
pub(in crate::hsm) fn public_key(material: &Material) -> Result<PublicKey, HsmError> {
    let spki = material.public_key.as_deref();
    PublicKey::from_spki(material.spec, spki.ok_or_else(|| not_found("the material has no public key"))?)
}

/// The same, of an RSA key pair.
pub(in crate::hsm) fn rsa_public_key(material: &Material) -> Result<RsaPublicKey, HsmError> {
    match public_key(material)? {
        PublicKey::Rsa(key) => Ok(key),
        _ => Err(not_found("the material is no RSA key")),
    }
}

fn not_found(text: &'static str) -> HsmError {
    HsmError::new(Kind::KeyMissing, "find key", text)
}
