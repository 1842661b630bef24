//! The beginning and the end of the module's use, and of sessions.

use cryptoki_sys::*;

use super::call::Call;
use super::sessions::Session;
use super::shards::lock;
use super::{Module, real};

pub fn initialize(module: &Module, _: &Call, args: CK_VOID_PTR) -> CK_RV {
    let code = real!(module.C_Initialize(args));
    if matches!(code, CKR_OK | CKR_CRYPTOKI_ALREADY_INITIALIZED) {
        module.checks.note_initialized();
    }
    code
}

pub fn finalize(module: &Module, _: &Call, reserved: CK_VOID_PTR) -> CK_RV {
    let code = real!(module.C_Finalize(reserved));
    if code == CKR_OK {
        for session in module.sessions.all() {
            forget(module, &session);
        }
        module.objects.end_epoch(|_| true);
        module.login.clear();
        module.checks.note_finalized();
    }
    code
}

pub fn open_session(
    module: &Module,
    _: &Call,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    new: CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    let code = real!(module.C_OpenSession(slot, flags, application, notify, new));
    if code == CKR_OK && !new.is_null() {
        // SAFETY: the real module has written the handle to the caller's place.
        unsafe { *new = module.sessions.add(slot, *new) };
    }
    code
}

pub fn close_session(module: &Module, call: &Call, session: CK_SESSION_HANDLE) -> CK_RV {
    if let Some(known) = &call.known {
        let owned: Vec<_> = lock(&known.owned).iter().copied().collect();
        module.check_unused(call.function, known, &owned);
    }
    let code = real!(module.C_CloseSession(session));
    if let (CKR_OK | CKR_SESSION_HANDLE_INVALID, Some(known)) = (code, &call.known) {
        module.check_left_behind(known);
        forget(module, known);
    }
    code
}

pub fn close_all_sessions(module: &Module, _: &Call, slot: CK_SLOT_ID) -> CK_RV {
    let code = real!(module.C_CloseAllSessions(slot));
    if code == CKR_OK {
        for session in module.sessions.all().iter().filter(|session| session.slot == slot) {
            module.check_left_behind(session);
            forget(module, session);
        }
    }
    code
}

fn forget(module: &Module, session: &Session) {
    session.note_closed();
    module.objects.forget_owned(session);
    module.sessions.forget(session);
}
