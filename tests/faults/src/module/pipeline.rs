//! The way of a call: noted, checked, perhaps spoilt, translated, passed on, perhaps spoilt again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki_sys::{CK_RV, CKR_BUFFER_TOO_SMALL, CKR_GENERAL_ERROR, CKR_OK, CKR_SESSION_HANDLE_INVALID};

use super::call::Call;
use super::plan::Installed;
use super::sessions::Session;
use super::{Module, act, gate, module, operations};
use crate::function::Step;

/// Sends a call through; `real` calls the real function with translated handles. A panic does not leave the module.
pub fn run(call: Call, real: impl FnOnce(&Module, &Call) -> CK_RV) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    catch_unwind(AssertUnwindSafe(|| module.run(call, real))).unwrap_or(CKR_GENERAL_ERROR)
}

/// What is answered instead of the real module's answer.
pub struct Instead {
    pub code: CK_RV,
    /// The operation of the session stays active, as if the HSM had not heard of the call.
    pub stays_active: bool,
}

impl Module {
    fn run(&self, mut call: Call, real: impl FnOnce(&Module, &Call) -> CK_RV) -> CK_RV {
        call.releases = self.plan.releases();
        let record = self.trace.begin(call.function, call.session.unwrap_or(0));
        self.counts[call.function as usize].fetch_add(1, Ordering::Relaxed);
        call.known = call.session.and_then(|handle| self.sessions.get(handle));
        let session = call.known.clone();
        let _holding = self.on_entry(&call, session.as_deref());
        let acting = self.plan.acting_on(&call);
        let code = match self.before(&call, &acting) {
            Some(instead) => self.answer_instead(&call, &instead),
            None => self.go_on(&mut call, session.as_deref(), real),
        };
        let told = act::after(self, &call, &acting, code);
        if code == CKR_OK
            && told != CKR_OK
            && let Some(session) = &session
        {
            session.is_misled.store(true, Ordering::Relaxed);
        }
        let code = told;
        self.trace.end(record, code);
        code
    }

    fn before(&self, call: &Call, acting: &[Arc<Installed>]) -> Option<Instead> {
        act::before(self, call, acting).or_else(|| fail_as_left(call))
    }

    /// To the real module, unless the state of the world forbids.
    fn go_on(&self, call: &mut Call, session: Option<&Session>, real: impl FnOnce(&Module, &Call) -> CK_RV) -> CK_RV {
        if let Some(code) = gate::refusal(self, call) {
            return self.answer_instead(call, &Instead { code, stays_active: false });
        }
        let visit = session.map(|session| session.visit(self));
        if matches!(visit, Some(None)) {
            self.forget_if_closed(call);
            return CKR_SESSION_HANDLE_INVALID;
        }
        self.translate(call);
        self.before_real(call);
        let code = real(self, call);
        operations::settle(call, code);
        self.after_real(call, code);
        code
    }

    /// A dead session that its owner closes is gone for good.
    fn forget_if_closed(&self, call: &Call) {
        if let (crate::function::Function::C_CloseSession, Some(session)) = (call.function, &call.known) {
            self.sessions.forget(session);
        }
    }

    fn translate(&self, call: &mut Call) {
        call.real_session = call.known.as_ref().map_or(0, |session| session.real);
        for at in 0..call.objects.used().len() {
            call.objects.reals[at] = self.objects.real(call.objects.virtuals[at], &self.world);
        }
    }

    /// A work function that fails ends its operation, in an HSM that answers as PKCS#11 says; so it must in the real one.
    fn answer_instead(&self, call: &Call, instead: &Instead) -> CK_RV {
        if let (Some(session), Some((operation, step))) = (&call.known, call.function.step()) {
            let goes_on = step == Step::Init || (step == Step::Update && instead.code == CKR_OK);
            if !goes_on && !instead.stays_active && instead.code != CKR_BUFFER_TOO_SMALL {
                operations::finish(self, session, operation);
            }
        }
        instead.code
    }
}

/// The call before had the order to leave its operation active.
fn fail_as_left(call: &Call) -> Option<Instead> {
    let session = call.known.as_ref()?;
    let (_, step) = call.function.step()?;
    if step == Step::Init || session.fail_next.load(Ordering::Relaxed) == 0 {
        return None;
    }
    Some(Instead { code: session.fail_next.swap(0, Ordering::Relaxed), stays_active: true })
}
