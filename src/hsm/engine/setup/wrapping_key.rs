//! The wrapping key of an HSM: looking for it, and making it.

use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};
use serde::{Deserialize, Serialize};

use crate::hsm::engine::calls::session_calls::SessionCalls;
use crate::hsm::engine::calls::templates::{self, Lifetime};
use crate::hsm::engine::calls::wrapping::{WrappingKey, find, missing};
use crate::hsm::engine::probe::{round_trips, trust};
use crate::hsm::engine::profile::bindings::AllowedMechanisms;
use crate::hsm::engine::token;
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::CarryOut;

/// Looks for the wrapping key.
#[derive(Serialize, Deserialize)]
pub struct FindWrappingKey;

impl CarryOut for FindWrappingKey {
    type Answer = Option<WrappingKeyReport>;

    fn run(self, settings: &Settings) -> Result<Option<WrappingKeyReport>, HsmError> {
        look(settings)
    }
}

/// Makes the wrapping key, unless it is there.
#[derive(Serialize, Deserialize)]
pub struct MakeWrappingKey {
    /// True if it may never leave the HSM.
    pub sole: bool,
}

impl CarryOut for MakeWrappingKey {
    type Answer = WrappingKeyReport;

    fn run(self, settings: &Settings) -> Result<WrappingKeyReport, HsmError> {
        make(settings, self.sole)
    }
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
    /// True if the key was made now; otherwise it was there.
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
fn make(settings: &Settings, sole: bool) -> Result<WrappingKeyReport, HsmError> {
    token::visit(settings, |calls, _turn| {
        if let Some(key) = find(calls, &settings.wrapping_key_label)? {
            return key.report(calls, false);
        }
        let cka_id: [u8; 16] = calls.unique()?;
        let (life, allowed) = nature(calls, &cka_id, &settings.wrapping_key_label, sole)?;
        calls.session.generate_key(&Mechanism::AesKeyGen, &templates::wrapping_key(life, allowed))?;
        // Seen again by what will be used to find it, or it does not count as made.
        find(calls, &settings.wrapping_key_label)?.ok_or_else(missing)?.report(calls, true)
    })
}

/// The wrapping key, if the token has one.
fn look(settings: &Settings) -> Result<Option<WrappingKeyReport>, HsmError> {
    token::visit(settings, |calls, _turn| {
        let key = find(calls, &settings.wrapping_key_label)?;
        key.map(|key| key.report(calls, false)).transpose()
    })
}

/// The lifetime and mechanisms of a new wrapping key of this HSM: it may leave only where the HSM sees to it that it leaves under a trusted key.
pub(in crate::hsm) fn nature<'a>(
    calls: SessionCalls<'_>,
    cka_id: &'a [u8],
    label: &'a str,
    sole: bool,
) -> Result<(Lifetime<'a>, AllowedMechanisms), HsmError> {
    let life = match !sole && trust::is_enforced(calls)? {
        true => Lifetime::Shared { cka_id, label },
        false => Lifetime::Token { cka_id, label },
    };
    Ok((life, AllowedMechanisms { wrapping: round_trips::for_wrapping_keys(calls)?, ..AllowedMechanisms::default() }))
}

impl WrappingKey {
    fn report(self, calls: SessionCalls<'_>, created: bool) -> Result<WrappingKeyReport, HsmError> {
        let leaves = self.leaves(calls)?;
        Ok(WrappingKeyReport { created, cka_id: self.cka_id, leaves })
    }

    pub(in crate::hsm) fn leaves(&self, calls: SessionCalls<'_>) -> Result<Leaves, HsmError> {
        let telling = [AttributeType::Extractable, AttributeType::WrapWithTrusted];
        let attributes = calls.session.get_attributes(self.handle, &telling)?;
        let has = |attribute| attributes.contains(&attribute);
        Ok(match (has(Attribute::Extractable(false)), has(Attribute::WrapWithTrusted(true))) {
            (true, _) => Leaves::Never,
            (false, true) => Leaves::UnderTrusted,
            (false, false) => Leaves::UnderAny,
        })
    }
}
