//! What a caller must not do, and is told the controller if it does. The texts have no handles in them: one defect is one
//! complaint, with a count.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki_sys::{CK_GCM_PARAMS, CK_OBJECT_HANDLE, CK_RV, CKM_AES_GCM, CKM_RSA_X_509, CKR_OK, CKR_OPERATION_ACTIVE};

use super::call::Call;
use super::objects::{About, is_checked};
use super::sessions::{Entered, Session};
use super::shards::lock;
use super::{Module, spoil, thread};
use crate::function::{Function, Operation, Step};

/// So many pairs of key and IV are remembered; then the remembering begins anew.
const IVS: usize = 1 << 18;

#[derive(Default)]
pub struct Checks {
    finalized: AtomicBool,
    raw_rsa: AtomicU64,
    /// Hashes of the key's handle and the IV.
    ivs: Mutex<HashSet<u64>>,
}

impl Checks {
    pub fn note_initialized(&self) {
        self.finalized.store(false, Ordering::Relaxed);
    }

    pub fn note_finalized(&self) {
        self.finalized.store(true, Ordering::Relaxed);
    }

    pub fn raw_rsa(&self) -> u64 {
        self.raw_rsa.load(Ordering::Relaxed)
    }

    /// Whether the pair has been seen before.
    fn seen(&self, key: u64, iv: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(key);
        hasher.write(iv);
        let mut ivs = lock(&self.ivs);
        if ivs.len() >= IVS {
            ivs.clear();
        }
        !ivs.insert(hasher.finish())
    }
}

impl Module {
    /// Before anything else is done with the call. The answer holds the session for this thread.
    pub fn on_entry<'a>(&self, call: &Call, session: Option<&'a Session>) -> Option<Entered<'a>> {
        let name = call.function.name();
        if thread::is_forked() {
            self.complain(format!("{name}: called in a child of the process that loaded the module"));
        }
        let is_over = self.checks.finalized.load(Ordering::Relaxed);
        if is_over && !matches!(call.function, Function::C_Initialize | Function::C_Finalize) {
            self.complain(format!("{name}: called after C_Finalize"));
        } else if session.is_none() && call.session.is_some_and(|handle| self.sessions.has_been(handle)) {
            self.complain(format!("{name}: its session has been closed"));
        }
        let entered = session?.enter(call.objects.virtuals);
        if matches!(entered, Entered::Contended) && !call.function.may_interrupt() {
            self.complain(format!("{name}: another thread is in a call of the same session"));
        }
        Some(entered)
    }

    /// When it goes on to the real module.
    pub fn before_real(&self, call: &Call) {
        let is_old = call.objects.used().iter().any(|handle| self.objects.is_from_before(*handle));
        if is_old {
            self.complain(format!("{}: a handle from before a logout or reboot", call.function.name()));
        }
        if self.begins_over_another(call) {
            self.complain(still_active(call));
        }
    }

    /// When it has come back.
    pub fn after_real(&self, call: &Call, code: CK_RV) {
        if code == CKR_OPERATION_ACTIVE && !self.begins_over_another(call) {
            self.complain(still_active(call));
        }
        if code == CKR_OK && !call.mechanism.is_null() {
            self.check_mechanism(call);
        }
        if let (CKR_OK, Some(byte)) = (code, self.world.state().and_then(|state| state.random)) {
            spoil::random(call, byte);
        }
    }

    fn begins_over_another(&self, call: &Call) -> bool {
        let (Some(session), Some((operation, Step::Init))) = (&call.known, call.function.step()) else { return false };
        let cancels = operation != Operation::Find && call.mechanism.is_null();
        !cancels && session.is_active(operation)
    }

    fn check_mechanism(&self, call: &Call) {
        match call.mechanism_type() {
            Some(CKM_RSA_X_509) => drop(self.checks.raw_rsa.fetch_add(1, Ordering::Relaxed)),
            Some(CKM_AES_GCM) if call.function == Function::C_EncryptInit => self.check_iv(call),
            _ => {}
        }
    }

    fn check_iv(&self, call: &Call) {
        let Some(iv) = iv(call) else { return };
        if self.checks.seen(call.objects.virtuals[0], iv) {
            self.complain("C_EncryptInit: an IV of AES-GCM for the second time under one key".to_owned());
        }
    }

    /// A key that can be read, or that leaves the HSM and stays in it.
    pub fn check_made(&self, function: Function, about: &About) {
        if !is_checked(function) || !about.is_secret() {
            return;
        }
        let name = function.name();
        if about.sensitive == Some(false) {
            self.complain(format!("{name}: a key with CKA_SENSITIVE false"));
        }
        if about.token && about.extractable == Some(true) {
            self.complain(format!("{name}: a token object with CKA_EXTRACTABLE true"));
        }
    }

    /// What becomes of a call whose key goes meanwhile, PKCS#11 does not say; SoftHSM2 answers anything, or crashes.
    pub fn check_unused(&self, function: Function, session: &Session, going: &[CK_OBJECT_HANDLE]) {
        let is_used = |other: &Arc<Session>| {
            other.handle != session.handle && !other.is_doomed() && going.iter().any(|object| other.uses(*object))
        };
        if self.sessions.all().iter().any(is_used) {
            self.complain(format!("{}: an object goes while another session uses it", function.name()));
        }
    }

    /// A key made to be wrapped must be destroyed by its maker, not by the end of the session; unless its maker was told that
    /// there is none.
    pub fn check_left_behind(&self, session: &Session) {
        if session.is_misled.load(Ordering::Relaxed) {
            return;
        }
        let owned: Vec<_> = lock(&session.owned).iter().copied().collect();
        let is_left = |handle: &u64| {
            self.objects.get(*handle).is_some_and(|one| one.about.is_secret() && one.about.extractable == Some(true))
        };
        if owned.iter().any(is_left) {
            self.complain("C_CloseSession: an extractable key is still there".to_owned());
        }
    }
}

fn still_active(call: &Call) -> String {
    format!("{}: an operation is still active in its session", call.function.name())
}

/// The IV that C_EncryptInit was called with, or that the module has filled in.
fn iv(call: &Call) -> Option<&[u8]> {
    // SAFETY: the mechanism is not null, and is the caller's for the time of the call.
    let mechanism = unsafe { &*call.mechanism };
    if mechanism.pParameter.is_null() || mechanism.ulParameterLen as usize != size_of::<CK_GCM_PARAMS>() {
        return None;
    }
    // SAFETY: the parameter has the size of what CKM_AES_GCM takes.
    let parameter = unsafe { &*mechanism.pParameter.cast::<CK_GCM_PARAMS>() };
    if parameter.pIv.is_null() || parameter.ulIvLen == 0 {
        return None;
    }
    // SAFETY: the real module has accepted the parameter, so the IV is there.
    Some(unsafe { std::slice::from_raw_parts(parameter.pIv, parameter.ulIvLen as usize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iv_is_seen_again_only_under_the_same_key() {
        let checks = Checks::default();
        assert!(!checks.seen(1, b"iv") && !checks.seen(2, b"iv") && !checks.seen(1, b"vi"));
        assert!(checks.seen(1, b"iv"));
    }
}
