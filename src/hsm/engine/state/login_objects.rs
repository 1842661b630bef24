//! The objects that come with a login: a handle of the wrapping key, and the key of the known answer.

use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;

use crate::hsm::engine::calls::crypto::Line;
use crate::hsm::engine::calls::templates::{self, Life};
use crate::hsm::engine::calls::wrapping::{self, WrappingKey};
use crate::hsm::engine::profile::bindings::{AES, Allowed};
use crate::hsm::engine::token::module::Module;
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::login_session::{Door, Home};

pub(in crate::hsm) const KNOWN_ANSWER: &[u8] = b"strongroom known answer";

/// What a login comes with; made new with each.
#[derive(Clone)]
pub(in crate::hsm) struct Standing {
    pub(super) wrapping: Option<WrappingKey>,
    pub(super) canary: Canary,
}

/// A session key of this process and a ciphertext whose plaintext is known.
#[derive(Clone)]
pub(super) struct Canary {
    pub(super) door: Arc<Door>,
    pub(super) key: ObjectHandle,
    pub(super) iv: [u8; 12],
    pub(super) ciphertext: Vec<u8>,
}

impl Standing {
    /// What comes with the login that the session of `home` has.
    pub(in crate::hsm) fn take(
        home: &Home,
        module: &Module,
        settings: &Settings,
        allowed: Allowed,
    ) -> Result<Self, HsmError> {
        let line = Line { calls: &module.calls, session: &home.session };
        let wrapping = wrapping::find(line, &settings.wrapping_key_label)?;
        let key =
            line.session.generate_key(&Mechanism::AesKeyGen, &templates::to_generate(AES, Life::Leased, allowed))?;
        let sealed = line.seal(key, b"", KNOWN_ANSWER)?;
        let door = Arc::clone(&home.door);
        Ok(Self { wrapping, canary: Canary { door, key, iv: sealed.iv, ciphertext: sealed.ciphertext } })
    }
}
