//! A PKCS#11 module: loaded and initialised once per process, and never unloaded: unloading one with threads inside is how
//! processes die. C_Finalize is never called, because it would end everyone's sessions.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use parking_lot::{Mutex, MutexGuard};

use crate::hsm::engine::calls::raw::{self, Functions};
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

/// A loaded and initialised PKCS#11 module.
#[derive(Clone)]
pub(in crate::hsm) struct Module {
    pub(in crate::hsm) pkcs11: Pkcs11,
    pub(in crate::hsm) functions: Functions,
    /// The text that C_Initialize was given.
    reserved: Option<CString>,
    /// Held by whatever changes tokens at start: SoftHSM2 fails some calls when two threads do that at once.
    setup: Arc<Mutex<()>>,
}

static LOADED: Mutex<Vec<(PathBuf, Module)>> = Mutex::new(Vec::new());

impl Module {
    /// Loads the module that the settings name, or finds it loaded.
    pub(in crate::hsm) fn of(settings: &Settings) -> Result<Self, HsmError> {
        Self::load(&settings.module, settings.init_reserved.as_deref())
    }

    pub(in crate::hsm) fn load(path: &Path, reserved: Option<&str>) -> Result<Self, HsmError> {
        let reserved = reserved.map(CString::new).transpose();
        let reserved = reserved.map_err(|_| HsmError::misconfigured("load", "hsm.init_reserved has a zero byte"))?;
        let mut loaded = LOADED.lock();
        if let Some((_, module)) = loaded.iter().find(|(other, _)| other == path) {
            return module.clone().initialized_with(&reserved);
        }
        let pkcs11 = Pkcs11::new(path).map_err(|error| {
            HsmError::misconfigured("load", format!("the PKCS#11 module `{}` does not load: {error}", path.display()))
        })?;
        initialize(&pkcs11, reserved.as_ref())?;
        let module = Self { functions: Functions::load(path)?, pkcs11, reserved, setup: Arc::default() };
        loaded.push((path.to_owned(), module.clone()));
        Ok(module)
    }

    /// Itself, if it was told this: a process initialises a module once.
    fn initialized_with(self, reserved: &Option<CString>) -> Result<Self, HsmError> {
        match self.reserved == *reserved {
            true => Ok(self),
            false => Err(HsmError::misconfigured("load", "one process cannot use a module with two hsm.init_reserved")),
        }
    }

    /// Until the guard is dropped, no other start-up of this process changes a token of this module.
    pub(in crate::hsm) fn setting_up(&self) -> MutexGuard<'_, ()> {
        self.setup.lock()
    }

    /// Opens a session. All of ours may write: some tokens count the two kinds apart, and none is cheaper.
    pub(in crate::hsm) fn open(&self, slot: Slot) -> Result<Session, HsmError> {
        self.pkcs11.open_rw_session(slot).map_err(|error| HsmError::from(error).in_slot(slot.id()))
    }

    /// Opens a session beside those that are open.
    pub(in crate::hsm) fn open_another(&self, slot: Slot) -> Result<Session, HsmError> {
        self.pkcs11.open_rw_session(slot).map_err(|error| HsmError::from(error).beside_other_sessions())
    }
}

fn initialize(pkcs11: &Pkcs11, reserved: Option<&CString>) -> Result<(), HsmError> {
    match raw::initialize(pkcs11, reserved.map(CString::as_c_str)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
