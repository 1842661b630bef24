//! The objects that come with a login: a handle of the wrapping key, and the key of the known answer.

use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;

use crate::hsm::engine::calls::session_calls::SessionCalls;
use crate::hsm::engine::calls::templates::{self, Lifetime};
use crate::hsm::engine::calls::wrapping::{self, WrappingKey};
use crate::hsm::engine::profile::bindings::{AES, AllowedMechanisms};
use crate::hsm::engine::token::module::Module;
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::login_session::{LoginLock, LoginSession};

pub(in crate::hsm) const KNOWN_ANSWER: &[u8] = b"strongroom known answer";

/// The objects of one login; made anew with each.
#[derive(Clone)]
pub(in crate::hsm) struct LoginObjects {
    pub(super) wrapping: Option<WrappingKey>,
    pub(super) known_answer: KnownAnswer,
}

/// A session key of this process and a ciphertext whose plaintext is known.
#[derive(Clone)]
pub(super) struct KnownAnswer {
    pub(super) lock: Arc<LoginLock>,
    pub(super) key: ObjectHandle,
    pub(super) iv: [u8; 12],
    pub(super) ciphertext: Vec<u8>,
}

impl LoginObjects {
    /// Finds and makes the objects of the login that this session holds.
    pub(in crate::hsm) fn take(
        login_session: &LoginSession,
        module: &Module,
        settings: &Settings,
        allowed: AllowedMechanisms,
    ) -> Result<Self, HsmError> {
        let calls = SessionCalls { functions: &module.functions, session: &login_session.session };
        let wrapping = wrapping::find(calls, &settings.wrapping_key_label)?;
        let key = calls
            .session
            .generate_key(&Mechanism::AesKeyGen, &templates::to_generate(AES, Lifetime::Leased, allowed))?;
        let sealed = calls.seal(key, b"", KNOWN_ANSWER)?;
        let lock = Arc::clone(&login_session.lock);
        Ok(Self { wrapping, known_answer: KnownAnswer { lock, key, iv: sealed.iv, ciphertext: sealed.ciphertext } })
    }
}
