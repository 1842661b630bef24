//! A token of SoftHSM2 for each test, and a copy of the module in front of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::*;
use strongroom_faults::control::{Controller, built, install};
use tempfile::TempDir;

use crate::call;
use crate::p11::{P11, aes};

pub const PIN: &str = "test-pin-1234";
const SO_PIN: &str = "so-pin-5678";

pub fn softhsm() -> PathBuf {
    std::env::var_os("STRONGROOM_TEST_PKCS11").map_or("/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

/// A token, the module for faults in front of it, and what tells that what to do.
pub struct Bench {
    pub p11: P11,
    pub slot: CK_SLOT_ID,
    pub label: String,
    pub control: Controller,
    pub module: PathBuf,
    pub dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let (slot, label) = new_token();
        let dir = tempfile::tempdir().unwrap();
        let module = install(dir.path(), &built(), &softhsm()).unwrap();
        let control = Controller::new(dir.path()).unwrap();
        let p11 = P11::load(&module);
        Self { p11, slot, label, control, module, dir }
    }

    pub fn open(&self) -> CK_SESSION_HANDLE {
        self.p11.open(self.slot).unwrap()
    }

    /// A session that is logged in.
    pub fn user(&self) -> CK_SESSION_HANDLE {
        let session = self.open();
        let code = self.p11.login(session, PIN);
        assert!(matches!(code, CKR_OK | CKR_USER_ALREADY_LOGGED_IN), "{code:#x}");
        session
    }

    /// That, and an AES key of the session.
    pub fn key(&self) -> (CK_SESSION_HANDLE, CK_OBJECT_HANDLE) {
        let session = self.user();
        (session, self.p11.generate(session, &aes()).unwrap())
    }
}

/// The slot of a new token with a PIN, and the token's label.
pub fn new_token() -> (CK_SLOT_ID, String) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    assert!(std::env::var_os("SOFTHSM2_CONF").is_some(), "run the tests with scripts/test, which sets SOFTHSM2_CONF");
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let label = format!("{:<32}", format!("faults {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let p11 = P11::load(&softhsm());
    // SoftHSM2 has one slot more than there are tokens.
    let is_free = |slot: &CK_SLOT_ID| p11.token_flags(*slot).is_ok_and(|flags| flags & CKF_TOKEN_INITIALIZED == 0);
    let free = p11.slots().into_iter().find(is_free).unwrap();
    let so_pin = SO_PIN.as_ptr().cast_mut();
    assert_eq!(call!(p11, C_InitToken(free, so_pin, SO_PIN.len() as u64, label.as_ptr().cast_mut())), CKR_OK);
    let slot = by_label(&p11, &label);
    let session = p11.open(slot).unwrap();
    assert_eq!(call!(p11, C_Login(session, CKU_SO, so_pin, SO_PIN.len() as u64)), CKR_OK);
    assert_eq!(call!(p11, C_InitPIN(session, PIN.as_ptr().cast_mut(), PIN.len() as u64)), CKR_OK);
    assert_eq!(p11.close(session), CKR_OK);
    (slot, label)
}

/// Another process may know a token under another slot.
pub fn by_label(p11: &P11, label: &str) -> CK_SLOT_ID {
    let is_it = |slot: &CK_SLOT_ID| {
        let mut info = CK_TOKEN_INFO::default();
        call!(p11, C_GetTokenInfo(*slot, &mut info)) == CKR_OK && info.label == label.as_bytes()
    };
    p11.slots().into_iter().find(is_it).unwrap()
}

/// The module in a directory without a controller.
pub fn alone(dir: &Path) -> P11 {
    P11::load(&install(dir, &built(), &softhsm()).unwrap())
}
