//! The wrapping key: finding it, making it, and what it does to other keys.

use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::key::material::WrapMechanism;

use super::capability;
use super::crypto::Line;
use super::mechanism::{self, Allowed, Life};
use super::token::{self, Module};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::ledger::Ledger;
use crate::hsm::settings::Settings;

/// The wrapping key of this HSM, as found on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappingKey {
    pub(super) handle: ObjectHandle,
    pub(super) cka_id: Vec<u8>,
}

/// What `init_wrapping_key` found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappingKeyReport {
    /// Whether the key was made now; otherwise it was there.
    pub created: bool,
    /// Its CKA_ID.
    pub cka_id: Vec<u8>,
}

impl fmt::Display for WrappingKeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.created { "wrapping key made, CKA_ID " } else { "wrapping key was there, CKA_ID " })?;
        self.cka_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes the wrapping key that the settings name, unless the token has it. Run by the operator, once per HSM.
pub fn init_wrapping_key(settings: &Settings) -> Result<WrappingKeyReport, HsmError> {
    let mut ledger = Ledger::lock(&settings.ledger)?;
    let module = Module::load(&settings.module)?;
    let _alone = module.setting_up();
    let (slot, _) = settings.token.find(&module)?;
    let session = module.open(slot)?;
    token::log_in(&module, slot, &session, settings, &mut ledger)?;
    if let Some(key) = find(&session, &settings.wrapping_key_label)? {
        return Ok(WrappingKeyReport { created: false, cka_id: key.cka_id });
    }
    let line = Line { calls: &module.calls, session: &session };
    let allowed = Allowed { wrapping: capability::for_wrapping_keys(line), ..Allowed::default() };
    let cka_id: [u8; 16] = line.unique()?;
    let life = Life::Token { cka_id: &cka_id, label: &settings.wrapping_key_label };
    session.generate_key(&Mechanism::AesKeyGen, &mechanism::wrapping_key(life, allowed))?;
    // Seen again by what will be used to find it, or it does not count as made.
    let key = find(&session, &settings.wrapping_key_label)?.ok_or_else(missing)?;
    Ok(WrappingKeyReport { created: true, cka_id: key.cka_id })
}

/// The wrapping key with this label, if the token has one; several are an error, because nothing says which is meant.
pub(super) fn find(session: &Session, label: &str) -> Result<Option<WrappingKey>, HsmError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let mut found = Vec::new();
    for handle in session.find_objects(&wanted)? {
        let key = WrappingKey { handle, cka_id: cka_id(session, handle)? };
        // One object may be found twice under two handles; another key has another id.
        if !found.iter().any(|other: &WrappingKey| other.cka_id == key.cka_id) {
            found.push(key);
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(HsmError::misconfigured("find wrapping key", format!("several wrapping keys are labelled `{label}`"))),
    }
}

/// The wrapping key with this CKA_ID: material remembers its own, so that a new wrapping key does not orphan it.
pub(super) fn find_by_id(session: &Session, id: &[u8]) -> Result<ObjectHandle, HsmError> {
    let wanted = mechanism::token_object(ObjectClass::SECRET_KEY, id);
    session.find_objects(&wanted)?.first().copied().ok_or_else(missing)
}

fn cka_id(session: &Session, handle: ObjectHandle) -> Result<Vec<u8>, HsmError> {
    let attributes = session.get_attributes(handle, &[AttributeType::Id])?;
    match attributes.into_iter().next() {
        Some(Attribute::Id(id)) if !id.is_empty() => Ok(id),
        _ => Err(HsmError::misconfigured("find wrapping key", "the wrapping key has no CKA_ID")),
    }
}

pub(super) fn missing() -> HsmError {
    HsmError::new(Kind::NoWrappingKey, "find wrapping key", "the wrapping key is not on the token")
}

/// The token has no key of this label, which the operator must mend.
pub(super) fn no_key(label: &str) -> HsmError {
    let text = format!(
        "it has no wrapping key `{label}`: make one with `strongroom hsm init`, or bring the key of another HSM with `strongroom hsm join`"
    );
    HsmError::new(Kind::NoWrappingKey, "find wrapping key", text)
}

impl Line<'_> {
    /// The bytes of `key` wrapped under `wrapping`.
    pub(super) fn wrap(
        &self,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        key: ObjectHandle,
    ) -> Result<Vec<u8>, HsmError> {
        self.calls.wrap(self.session, mechanism, wrapping, key)
    }

    /// A new session object from wrapped bytes, as `template` says.
    pub(super) fn unwrap(
        &self,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        self.calls.unwrap(self.session, mechanism, wrapping, blob, template)
    }
}
