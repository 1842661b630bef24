//! The wrapping key: finding it, making it, and what it does to other keys.

use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde::{Deserialize, Serialize};

use crate::key::material::WrapMechanism;

use super::crypto::Line;
use super::round_trips;
use super::templates::{self, Allowed, Life};
use super::{token, trust};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::settings::Settings;

/// The wrapping key of this HSM, as found on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappingKey {
    pub(super) handle: ObjectHandle,
    pub(super) cka_id: Vec<u8>,
}

/// How a wrapping key may leave its HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaves {
    /// Under a key that the security officer has trusted, and no other: other HSMs can be given it.
    UnderTrusted,
    /// Not at all.
    Never,
    /// Under any key. None that we make may.
    UnderAny,
}

/// The wrapping key of an HSM, as it was found or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappingKeyReport {
    /// Whether the key was made now; otherwise it was there.
    pub created: bool,
    /// Its CKA_ID.
    pub cka_id: Vec<u8>,
    /// How it may leave the HSM.
    pub leaves: Leaves,
}

impl fmt::Display for WrappingKeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.created { "wrapping key made, CKA_ID " } else { "wrapping key was there, CKA_ID " })?;
        self.cka_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "\n{}", self.leaves)
    }
}

impl fmt::Display for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnderTrusted => {
                "other HSMs can be given it with `strongroom hsm join`: it leaves only under a key that the security officer \
                 has trusted"
            }
            Self::Never => {
                "it cannot leave this HSM, so no other HSM can join by `strongroom hsm join`; use the HSM's own cloning and backup"
            }
            Self::UnderAny => "WARNING: whoever has the PIN can take it out of this HSM under a key of their own",
        })
    }
}

/// Makes the wrapping key that the settings name, unless the token has it. Run by the operator, once per HSM.
pub fn init_wrapping_key(settings: &Settings) -> Result<WrappingKeyReport, HsmError> {
    make(settings, false)
}

/// The same; a `sole` one may never leave the HSM, also where it could do so safely.
pub(in crate::hsm) fn make(settings: &Settings, sole: bool) -> Result<WrappingKeyReport, HsmError> {
    token::visit(settings, |line, _turn| {
        if let Some(key) = find(line, &settings.wrapping_key_label)? {
            return key.report(line, false);
        }
        let cka_id: [u8; 16] = line.unique()?;
        let (life, allowed) = nature(line, &cka_id, &settings.wrapping_key_label, sole)?;
        line.session.generate_key(&Mechanism::AesKeyGen, &templates::wrapping_key(life, allowed))?;
        // Seen again by what will be used to find it, or it does not count as made.
        find(line, &settings.wrapping_key_label)?.ok_or_else(missing)?.report(line, true)
    })
}

/// The wrapping key, if the token has one.
pub(in crate::hsm) fn look(settings: &Settings) -> Result<Option<WrappingKeyReport>, HsmError> {
    token::visit(settings, |line, _turn| {
        let key = find(line, &settings.wrapping_key_label)?;
        key.map(|key| key.report(line, false)).transpose()
    })
}

/// What a new wrapping key of this HSM may do: leave it only where the HSM sees to it that it leaves under a trusted key.
pub(super) fn nature<'a>(
    line: Line<'_>,
    cka_id: &'a [u8],
    label: &'a str,
    sole: bool,
) -> Result<(Life<'a>, Allowed), HsmError> {
    let life = match !sole && trust::is_enforced(line)? {
        true => Life::Shared { cka_id, label },
        false => Life::Token { cka_id, label },
    };
    Ok((life, Allowed { wrapping: round_trips::for_wrapping_keys(line)?, ..Allowed::default() }))
}

impl WrappingKey {
    fn report(self, line: Line<'_>, created: bool) -> Result<WrappingKeyReport, HsmError> {
        let leaves = self.leaves(line)?;
        Ok(WrappingKeyReport { created, cka_id: self.cka_id, leaves })
    }

    pub(super) fn leaves(&self, line: Line<'_>) -> Result<Leaves, HsmError> {
        let telling = [AttributeType::Extractable, AttributeType::WrapWithTrusted];
        let attributes = line.session.get_attributes(self.handle, &telling)?;
        let has = |attribute| attributes.contains(&attribute);
        Ok(match (has(Attribute::Extractable(false)), has(Attribute::WrapWithTrusted(true))) {
            (true, _) => Leaves::Never,
            (false, true) => Leaves::UnderTrusted,
            (false, false) => Leaves::UnderAny,
        })
    }
}

/// The wrapping key with this label, if the token has one; several are an error, because nothing says which is meant.
pub(super) fn find(line: Line<'_>, label: &str) -> Result<Option<WrappingKey>, HsmError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let mut found = Vec::new();
    for handle in line.find(&wanted)? {
        let key = WrappingKey { handle, cka_id: cka_id(line.session, handle)? };
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
pub(super) fn find_by_id(line: Line<'_>, id: &[u8]) -> Result<ObjectHandle, HsmError> {
    let wanted = templates::token_object(ObjectClass::SECRET_KEY, id);
    line.find(&wanted)?.first().copied().ok_or_else(missing)
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
