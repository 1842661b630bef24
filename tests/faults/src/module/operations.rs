//! Which operations are active in a session, and how one is ended that must not be.

use cryptoki_sys::{CK_RV, CKR_BUFFER_TOO_SMALL, CKR_OK};

use super::call::Call;
use super::sessions::Session;
use super::{Module, real};
use crate::function::{Operation, Step};

/// Notes what a call of the real module did to the session's operations.
pub fn settle(call: &Call, code: CK_RV) {
    let (Some(session), Some((operation, step))) = (&call.known, call.function.step()) else { return };
    if step == Step::Init {
        settle_init(call, session, operation, code);
    } else if ends(operation, step, code, call.asks_for_length()) {
        session.end(operation);
    }
}

/// An Init without a mechanism cancels (version 3.0), where it is understood.
fn settle_init(call: &Call, session: &Session, operation: Operation, code: CK_RV) {
    if code != CKR_OK {
        return;
    }
    if operation != Operation::Find && call.mechanism.is_null() {
        return session.end(operation);
    }
    session.begin(operation, call.mechanism_type().unwrap_or(0), call.objects.virtuals[0]);
}

/// Whether an operation has ended, by PKCS#11 section 5.2 and the description of each function.
fn ends(operation: Operation, step: Step, code: CK_RV, asks_for_length: bool) -> bool {
    match step {
        Step::Init => false,
        Step::Update => operation != Operation::Find && code != CKR_OK && code != CKR_BUFFER_TOO_SMALL,
        Step::Whole | Step::Final => code != CKR_BUFFER_TOO_SMALL && !(code == CKR_OK && asks_for_length),
    }
}

/// Ends an active operation of the real session. There is no function for that in 2.40, so the work is done on a byte of no
/// meaning and the result thrown away.
pub fn finish(module: &Module, session: &Session, operation: Operation) {
    if !session.is_active(operation) {
        return;
    }
    if let Some(_visit) = session.visit(module) {
        work_for_nothing(module, session.real, operation);
    }
    session.end(operation);
}

fn work_for_nothing(module: &Module, session: u64, operation: Operation) -> CK_RV {
    let (mut input, mut out, mut len) = ([0; 1], vec![0; 0x4000], 0x4000);
    let (input, out) = (input.as_mut_ptr(), out.as_mut_ptr());
    match operation {
        Operation::Encrypt => real!(module.C_Encrypt(session, input, 1, out, &mut len)),
        Operation::Decrypt => real!(module.C_Decrypt(session, input, 1, out, &mut len)),
        Operation::Digest => real!(module.C_Digest(session, input, 1, out, &mut len)),
        Operation::Sign => real!(module.C_Sign(session, input, 1, out, &mut len)),
        Operation::SignRecover => real!(module.C_SignRecover(session, input, 1, out, &mut len)),
        Operation::Verify => real!(module.C_Verify(session, input, 1, input, 1)),
        Operation::VerifyRecover => real!(module.C_VerifyRecover(session, input, 1, out, &mut len)),
        Operation::Find => real!(module.C_FindObjectsFinal(session)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_ends_with_its_last_call_or_an_error() {
        assert!(ends(Operation::Encrypt, Step::Whole, CKR_OK, false));
        assert!(!ends(Operation::Encrypt, Step::Whole, CKR_OK, true));
        assert!(!ends(Operation::Encrypt, Step::Whole, CKR_BUFFER_TOO_SMALL, false));
        assert!(ends(Operation::Sign, Step::Update, 5, false) && !ends(Operation::Sign, Step::Update, CKR_OK, false));
        assert!(!ends(Operation::Find, Step::Update, 5, false) && ends(Operation::Find, Step::Final, CKR_OK, false));
    }
}
