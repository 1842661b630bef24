//! C_Login and what depends on it. A PIN never leaves this file: what does is 32 bits of a hash with a salt.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki_sys::*;

use super::call::Call;
use super::shards::lock;
use super::{Module, pins, real};
use crate::wire::Report;

#[derive(Default)]
pub struct Logins {
    /// The hash of the PIN with which each slot has been logged in to through this copy.
    accepted: Mutex<BTreeMap<CK_SLOT_ID, u32>>,
    /// Slots whose login an event has taken. The real one may still hold it, for other copies.
    out: Mutex<BTreeSet<CK_SLOT_ID>>,
    any_out: AtomicBool,
}

impl Logins {
    /// Whoever is logged in is not any more.
    pub fn lose(&self) {
        let mut out = lock(&self.out);
        out.extend(lock(&self.accepted).keys());
        self.any_out.store(!out.is_empty(), Ordering::Release);
    }

    pub fn is_out(&self, slot: CK_SLOT_ID) -> bool {
        self.any_out.load(Ordering::Acquire) && lock(&self.out).contains(&slot)
    }

    fn accept(&self, slot: CK_SLOT_ID, pin: u32) {
        lock(&self.accepted).insert(slot, pin);
        let mut out = lock(&self.out);
        out.remove(&slot);
        self.any_out.store(!out.is_empty(), Ordering::Release);
    }

    fn forget(&self, slot: CK_SLOT_ID) {
        lock(&self.accepted).remove(&slot);
    }

    /// Forgets everything, as the real module does when it is finalised.
    pub fn clear(&self) {
        lock(&self.accepted).clear();
        lock(&self.out).clear();
        self.any_out.store(false, Ordering::Release);
    }

    fn accepted(&self, slot: CK_SLOT_ID) -> Option<u32> {
        lock(&self.accepted).get(&slot).copied()
    }
}

pub fn login(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    len: CK_ULONG,
) -> CK_RV {
    with_pin(module, call, user, hash(module, pin, len), || real!(module.C_Login(session, user, pin, len)))
}

#[expect(clippy::too_many_arguments, reason = "the arguments are PKCS#11's")]
pub fn login_user(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    len: CK_ULONG,
    name: CK_UTF8CHAR_PTR,
    name_len: CK_ULONG,
) -> CK_RV {
    let real = || real!(module.C_LoginUser(session, user, pin, len, name, name_len));
    with_pin(module, call, user, hash(module, pin, len), real)
}

fn with_pin(module: &Module, call: &Call, user: CK_USER_TYPE, pin: u32, real: impl FnOnce() -> CK_RV) -> CK_RV {
    let slot = call.known.as_ref().map(|session| session.slot);
    let tries = module.world.state().and_then(|state| state.pin_tries).filter(|_| user == CKU_USER);
    let answered = pins::guarded(&module.dir, tries, || checked(module, slot, pin, real()));
    module.link.report(&Report::Login { pin: format!("{pin:08x}"), code: answered });
    let Some(slot) = slot.filter(|_| user == CKU_USER) else { return answered };
    let was_out = module.login.is_out(slot);
    if !matches!(answered, CKR_OK | CKR_USER_ALREADY_LOGGED_IN) {
        return answered;
    }
    module.login.accept(slot, pin);
    if was_out { CKR_OK } else { answered }
}

/// A real module that is still logged in does not look at the PIN; after an event that took the login, we do.
fn checked(module: &Module, slot: Option<CK_SLOT_ID>, pin: u32, answered: CK_RV) -> CK_RV {
    let Some(slot) = slot.filter(|slot| module.login.is_out(*slot)) else { return answered };
    let is_other = module.login.accepted(slot).is_some_and(|accepted| accepted != pin);
    if answered == CKR_USER_ALREADY_LOGGED_IN && is_other { CKR_PIN_INCORRECT } else { answered }
}

/// Enough to tell PINs apart, too little to tell the PIN.
fn hash(module: &Module, pin: CK_UTF8CHAR_PTR, len: CK_ULONG) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(module.link.salt.load(Ordering::Relaxed));
    if !pin.is_null() {
        // SAFETY: the caller's PIN has `len` bytes.
        hasher.write(unsafe { std::slice::from_raw_parts(pin, len as usize) });
    }
    hasher.finish() as u32
}

pub fn logout(module: &Module, call: &Call, session: CK_SESSION_HANDLE) -> CK_RV {
    let Some(known) = &call.known else { return real!(module.C_Logout(session)) };
    if module.login.is_out(known.slot) {
        return CKR_USER_NOT_LOGGED_IN;
    }
    let code = real!(module.C_Logout(session));
    if code == CKR_OK {
        module.login.forget(known.slot);
        module.objects.end_epoch(|object| object.about.private && object.slot == known.slot);
    }
    code
}

/// The PIN is another one now.
pub fn set_pin(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    old: CK_UTF8CHAR_PTR,
    old_len: CK_ULONG,
    new: CK_UTF8CHAR_PTR,
    new_len: CK_ULONG,
) -> CK_RV {
    let code = real!(module.C_SetPIN(session, old, old_len, new, new_len));
    if let (CKR_OK, Some(known)) = (code, &call.known)
        && module.login.accepted(known.slot).is_some()
    {
        module.login.accept(known.slot, hash(module, new, new_len));
    }
    code
}

/// A session whose login is gone is a public one.
pub fn session_info(module: &Module, call: &Call, session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR) -> CK_RV {
    let code = real!(module.C_GetSessionInfo(session, info));
    let is_out = call.known.as_ref().is_some_and(|session| module.login.is_out(session.slot));
    if code == CKR_OK && is_out && !info.is_null() {
        // SAFETY: the real module has filled the caller's place.
        let info = unsafe { &mut *info };
        info.state = match info.state {
            CKS_RO_USER_FUNCTIONS => CKS_RO_PUBLIC_SESSION,
            CKS_RW_USER_FUNCTIONS => CKS_RW_PUBLIC_SESSION,
            other => other,
        };
    }
    code
}
