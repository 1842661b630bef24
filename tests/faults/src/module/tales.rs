//! What a module says of itself, its slots and its tokens, when it says what cannot be.

use cryptoki_sys::{
    CK_FLAGS, CK_INFO, CK_SLOT_INFO, CK_TOKEN_INFO, CK_UTF8CHAR, CK_VERSION, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED,
    CKF_TOKEN_INITIALIZED, CKF_TOKEN_PRESENT, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_LOCKED,
};

use super::call::{Call, Output};
use crate::rule::Tale;

/// Flags of a token on which a caller must rely.
const TELLING: CK_FLAGS = CKF_TOKEN_INITIALIZED
    | CKF_USER_PIN_INITIALIZED
    | CKF_USER_PIN_FINAL_TRY
    | CKF_USER_PIN_LOCKED
    | CKF_SO_PIN_FINAL_TRY
    | CKF_SO_PIN_LOCKED;

/// Spoils what has been told.
pub fn tell(call: &Call, tale: Tale) {
    match call.output {
        Output::Library(info) => told(info, |info| library(info, tale)),
        Output::Slot(info) => told(info, |info| slot(info, tale)),
        Output::Token(info) => told(info, |info| token(info, tale)),
        _ => {}
    }
}

fn told<T>(info: *mut T, spoil: impl FnOnce(&mut T)) {
    // SAFETY: the real module has filled the place that the caller gave it, if it gave one; it is ours until the call is back.
    if let Some(info) = unsafe { info.as_mut() } {
        spoil(info);
    }
}

fn library(info: &mut CK_INFO, tale: Tale) {
    let CK_INFO { manufacturerID, libraryDescription, flags: told, cryptokiVersion, libraryVersion, .. } = info;
    [manufacturerID, libraryDescription].into_iter().for_each(|field| text(field, tale));
    flags(told, 0, tale);
    [cryptokiVersion, libraryVersion].into_iter().for_each(|field| version(field, tale));
}

fn slot(info: &mut CK_SLOT_INFO, tale: Tale) {
    text(&mut info.slotDescription, tale);
    text(&mut info.manufacturerID, tale);
    flags(&mut info.flags, CKF_TOKEN_PRESENT, tale);
    version(&mut info.hardwareVersion, tale);
    version(&mut info.firmwareVersion, tale);
}

fn token(info: &mut CK_TOKEN_INFO, tale: Tale) {
    if tale == Tale::Zeros {
        text(&mut info.label, tale);
    }
    text(&mut info.manufacturerID, tale);
    text(&mut info.model, tale);
    text(&mut info.serialNumber, tale);
    flags(&mut info.flags, TELLING, tale);
    version(&mut info.hardwareVersion, tale);
    version(&mut info.firmwareVersion, tale);
    match tale {
        Tale::Flags => info.utcTime = [b' '; 16],
        Tale::Numbers(number) => numbers(info, number),
        _ => {}
    }
}

fn numbers(info: &mut CK_TOKEN_INFO, number: u64) {
    let all = [
        &mut info.ulMaxSessionCount,
        &mut info.ulSessionCount,
        &mut info.ulMaxRwSessionCount,
        &mut info.ulRwSessionCount,
        &mut info.ulMaxPinLen,
        &mut info.ulMinPinLen,
        &mut info.ulTotalPublicMemory,
        &mut info.ulFreePublicMemory,
        &mut info.ulTotalPrivateMemory,
        &mut info.ulFreePrivateMemory,
    ];
    all.into_iter().for_each(|told| *told = number);
}

fn text(field: &mut [CK_UTF8CHAR], tale: Tale) {
    match tale {
        Tale::Blanks => field.fill(b' '),
        Tale::Unpadded => field.fill(b'x'),
        Tale::Garbage => field.fill(0xff),
        Tale::Zeros => end_in_zero(field),
        Tale::Flags | Tale::Numbers(_) => {}
    }
}

fn end_in_zero(field: &mut [CK_UTF8CHAR]) {
    let end = field.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    let rest = &mut field[end..];
    rest.fill(b'y');
    rest.iter_mut().take(1).for_each(|byte| *byte = 0);
}

/// The flags of `telling` stay.
fn flags(flags: &mut CK_FLAGS, telling: CK_FLAGS, tale: Tale) {
    if tale == Tale::Flags {
        *flags |= !telling;
    }
}

fn version(version: &mut CK_VERSION, tale: Tale) {
    if let Tale::Numbers(number) = tale {
        let byte = number.to_le_bytes()[0];
        *version = CK_VERSION { major: byte, minor: byte };
    }
}
