//! Slots and tokens, when the token is not there or its PIN is counted.

use cryptoki_sys::{
    CK_BBOOL, CK_RV, CK_SLOT_ID, CK_SLOT_ID_PTR, CK_SLOT_INFO_PTR, CK_TOKEN_INFO_PTR, CK_ULONG_PTR, CKF_TOKEN_PRESENT,
    CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKR_OK,
};

use super::call::Call;
use super::{Module, pins, real};

/// No slot has a token while the token is gone.
pub fn slot_list(module: &Module, _: &Call, present: CK_BBOOL, slots: CK_SLOT_ID_PTR, count: CK_ULONG_PTR) -> CK_RV {
    let is_gone = module.world.state().is_some_and(|state| state.vanished.is_some());
    if present != 0 && is_gone && !count.is_null() {
        // SAFETY: the caller gives a place for the count.
        unsafe { *count = 0 };
        return CKR_OK;
    }
    real!(module.C_GetSlotList(present, slots, count))
}

pub fn slot_info(module: &Module, _: &Call, slot: CK_SLOT_ID, info: CK_SLOT_INFO_PTR) -> CK_RV {
    let code = real!(module.C_GetSlotInfo(slot, info));
    let is_gone = module.world.state().is_some_and(|state| state.vanished.is_some());
    if code == CKR_OK && is_gone && !info.is_null() {
        // SAFETY: the real module has filled the caller's place.
        unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
    }
    code
}

/// The flags about the PIN are ours while we count its failures.
pub fn token_info(module: &Module, _: &Call, slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR) -> CK_RV {
    let code = real!(module.C_GetTokenInfo(slot, info));
    let limit = module.world.state().and_then(|state| state.pin_tries);
    if let (CKR_OK, Some(limit), false) = (code, limit, info.is_null()) {
        // SAFETY: as above.
        let info = unsafe { &mut *info };
        info.flags &= !(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
        info.flags |= pins::flags(pins::failures(&module.dir), limit);
    }
    code
}
