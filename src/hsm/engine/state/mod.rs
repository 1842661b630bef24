//! The state that all threads of an engine share: the token, the login and its epoch, the counts.

mod login_objects;
pub(in crate::hsm) mod login_session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cryptoki::session::Session;
use cryptoki::slot::Slot;
use parking_lot::RwLock;

use crate::hsm::counts::ErrorCounts;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::settings::Settings;

use super::calls::session_calls::SessionCalls;
use super::calls::wrapping::{self, WrappingKey};
use super::profile::Profile;
use super::token::login::{self, Admission};
use super::token::module::Module;
use login_objects::{KNOWN_ANSWER, KnownAnswer};
use login_session::{LoginLock, LoginSession};

pub(in crate::hsm) use login_objects::LoginObjects;

/// The epoch of the login that an engine starts with.
pub(in crate::hsm) const FIRST_EPOCH: u64 = 0;

pub(in crate::hsm) struct EngineState {
    pub(in crate::hsm) settings: Settings,
    pub(in crate::hsm) module: Module,
    pub(in crate::hsm) slot: Slot,
    pub(in crate::hsm) profile: Arc<Profile>,
    /// What was answered to calls that belong to no command, or are made again for it.
    pub(in crate::hsm) counts: ErrorCounts,
    /// True if the token has refused a session and none was had since.
    is_short: AtomicBool,
    /// Grows with each login: see `LoginLock`.
    epoch: AtomicU64,
    login_objects: RwLock<LoginObjects>,
}

impl EngineState {
    pub(in crate::hsm) fn new(
        settings: Settings,
        module: Module,
        slot: Slot,
        profile: Profile,
        login_objects: LoginObjects,
    ) -> Self {
        Self {
            is_short: AtomicBool::new(false),
            settings,
            module,
            slot,
            profile: Arc::new(profile),
            counts: ErrorCounts::default(),
            epoch: AtomicU64::new(FIRST_EPOCH),
            login_objects: RwLock::new(login_objects),
        }
    }

    pub(in crate::hsm) fn calls<'a>(&'a self, session: &'a Session) -> SessionCalls<'a> {
        SessionCalls { functions: &self.module.functions, session }
    }

    /// Opens a session beside those that the engine has.
    pub(in crate::hsm) fn open_session(&self) -> Result<Session, HsmError> {
        let opened = self.module.open_another(self.slot);
        match &opened {
            Ok(_) => self.is_short.store(false, Ordering::Relaxed),
            Err(error) if error.kind == Kind::Busy && !self.is_short.swap(true, Ordering::Relaxed) => {
                let wanted = self.settings.sessions;
                tracing::warn!(%error, wanted, "the HSM has no session left; fewer workers do the work");
            }
            Err(_) => {}
        }
        opened
    }

    pub(in crate::hsm) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The way to the objects of the last login.
    pub(in crate::hsm) fn lock(&self) -> Arc<LoginLock> {
        self.login_objects().known_answer.lock
    }

    fn login_objects(&self) -> LoginObjects {
        self.login_objects.read().clone()
    }

    /// Ends an epoch: every handle made so far is refused from now on.
    pub(in crate::hsm) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Logs in with the session of `login_session` and makes what comes with a login. The epoch that it ends must have been ended
    /// before.
    pub(in crate::hsm) fn enter(&self, login_session: &LoginSession, mut admission: Admission) -> Result<(), HsmError> {
        login::log_in(&self.module, self.slot, &login_session.session, &self.settings, &mut admission)?;
        drop(admission);
        let entered = LoginObjects::take(login_session, &self.module, &self.settings, self.profile.allowed);
        *self.login_objects.write() = entered?;
        Ok(())
    }

    /// The wrapping key, looked for again if it was not there: the operator may have made it since.
    pub(in crate::hsm) fn wrapping_key(&self, session: &Session) -> Result<Option<WrappingKey>, HsmError> {
        if let Some(key) = self.login_objects().wrapping {
            return Ok(Some(key));
        }
        let found = wrapping::find(self.calls(session), &self.settings.wrapping_key_label)?;
        self.login_objects.write().wrapping.clone_from(&found);
        Ok(found)
    }

    pub(in crate::hsm) fn has_wrapping_key(&self) -> bool {
        self.login_objects.read().wrapping.is_some()
    }

    /// Handles of wrapping keys are kept too; this one did not work.
    pub(in crate::hsm) fn forget_wrapping_key(&self) {
        self.login_objects.write().wrapping = None;
    }

    /// Decrypts the known answer.
    pub(in crate::hsm) fn check(&self, calls: SessionCalls<'_>) -> Result<(), HsmError> {
        let KnownAnswer { lock, key, iv, ciphertext } = self.login_objects().known_answer;
        let _guard = lock.enter(|| self.epoch())?;
        SessionCalls::is_same(KNOWN_ANSWER, &calls.open(key, iv, b"", &ciphertext)?)
    }
}
