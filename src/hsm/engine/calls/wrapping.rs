//! The wrapping key: finding it, and what it does to other keys.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::key::material::WrapMechanism;

use super::session_calls::SessionCalls;
use super::templates;
use crate::hsm::error::{HsmError, Kind};

/// The wrapping key of this HSM, as found on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hsm) struct WrappingKey {
    pub(in crate::hsm) handle: ObjectHandle,
    pub(in crate::hsm) cka_id: Vec<u8>,
}

/// The wrapping key with this label, if the token has one; several are an error, because nothing says which is meant.
pub(in crate::hsm) fn find(calls: SessionCalls<'_>, label: &str) -> Result<Option<WrappingKey>, HsmError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let mut found = Vec::new();
    for handle in calls.find(&wanted)? {
        let key = WrappingKey { handle, cka_id: cka_id(calls.session, handle)? };
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
pub(in crate::hsm) fn find_by_id(calls: SessionCalls<'_>, id: &[u8]) -> Result<ObjectHandle, HsmError> {
    let wanted = templates::token_object(ObjectClass::SECRET_KEY, id);
    calls.find(&wanted)?.first().copied().ok_or_else(missing)
}

fn cka_id(session: &Session, handle: ObjectHandle) -> Result<Vec<u8>, HsmError> {
    let attributes = session.get_attributes(handle, &[AttributeType::Id])?;
    match attributes.into_iter().next() {
        Some(Attribute::Id(id)) if !id.is_empty() => Ok(id),
        _ => Err(HsmError::misconfigured("find wrapping key", "the wrapping key has no CKA_ID")),
    }
}

pub(in crate::hsm) fn missing() -> HsmError {
    HsmError::new(Kind::NoWrappingKey, "find wrapping key", "the wrapping key is not on the token")
}

/// The token has no key of this label, which the operator must mend.
pub(in crate::hsm) fn no_key(label: &str) -> HsmError {
    let text = format!(
        "it has no wrapping key `{label}`: make one with `strongroom hsm init`, or bring the key of another HSM with `strongroom hsm join`"
    );
    HsmError::new(Kind::NoWrappingKey, "find wrapping key", text)
}

impl SessionCalls<'_> {
    /// The bytes of `key` wrapped under `wrapping`.
    pub(in crate::hsm) fn wrap(
        &self,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        key: ObjectHandle,
    ) -> Result<Vec<u8>, HsmError> {
        self.functions.wrap(self.session, mechanism, wrapping, key)
    }

    /// A new session object from wrapped bytes, as `template` says.
    pub(in crate::hsm) fn unwrap(
        &self,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        self.functions.unwrap(self.session, mechanism, wrapping, blob, template)
    }
}
