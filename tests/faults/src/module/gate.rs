//! Whether the state of the world lets a call through.

use std::time::Instant;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_PTR, CK_RV, CK_ULONG, CKA_CLASS, CKA_PRIVATE, CKO_PRIVATE_KEY, CKO_SECRET_KEY,
    CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_USER_NOT_LOGGED_IN,
};

use super::Module;
use super::call::Call;
use super::events::State;
use crate::function::{Function, Step};

/// The code that is answered instead of the real call.
pub fn refusal(module: &Module, call: &Call) -> Option<CK_RV> {
    let slot = call.slot.or(call.known.as_ref().map(|session| session.slot));
    if let Some(state) = module.world.state()
        && let Some(code) = by_state(&state, call, module.sessions.open())
    {
        return Some(code);
    }
    let is_out = slot.is_some_and(|slot| module.login.is_out(slot));
    ((is_out && needs_login(module, call)) || has_lost_its_operation(call)).then_some(CKR_USER_NOT_LOGGED_IN)
}

fn by_state(state: &State, call: &Call, sessions: usize) -> Option<CK_RV> {
    let touches_token = call.slot.is_some() || call.session.is_some();
    if !touches_token {
        return None;
    }
    if state.vanished.is_some() {
        return state.vanished;
    }
    if state.broken_until.is_some_and(|until| Instant::now() < until) {
        return Some(CKR_DEVICE_ERROR);
    }
    match state.cap {
        Some((cap, code)) if call.function == Function::C_OpenSession && sessions >= cap => Some(code),
        _ if state.full && call.function.creates() => Some(CKR_DEVICE_MEMORY),
        _ => None,
    }
}

/// The use of a private object, or of one whose handle the logout has made void; the making of a private object.
fn needs_login(module: &Module, call: &Call) -> bool {
    let used = call.objects.used();
    let is_private = |handle: &u64| module.objects.get(*handle).is_none_or(|object| object.about.private);
    used.iter().any(|handle| *handle != 0 && is_private(handle)) || makes_private(call)
}

/// Keys are private unless the template says otherwise, other objects only if it says so.
fn makes_private(call: &Call) -> bool {
    if !call.function.creates() || call.function == Function::C_CopyObject {
        return false;
    }
    // The last template is that of the private key, where there are two.
    let Some((template, count)) = call.templates.all().last() else { return call.function != Function::C_CreateObject };
    let is_key = match call.function {
        Function::C_CreateObject => {
            let class = value(template, count, CKA_CLASS);
            [CKO_SECRET_KEY, CKO_PRIVATE_KEY].iter().any(|key| class.as_deref() == Some(&key.to_ne_bytes()))
        }
        _ => true,
    };
    value(template, count, CKA_PRIVATE).map_or(is_key, |private| private.first() != Some(&0))
}

/// The value of an attribute in the caller's template.
fn value(template: CK_ATTRIBUTE_PTR, count: CK_ULONG, which: u64) -> Option<Vec<u8>> {
    // SAFETY: the caller's template has `count` attributes, each with a value of its length.
    let attributes: &[CK_ATTRIBUTE] = unsafe { std::slice::from_raw_parts(template, count as usize) };
    let one = attributes.iter().find(|one| one.type_ == which && !one.pValue.is_null())?;
    // SAFETY: as above.
    Some(unsafe { std::slice::from_raw_parts(one.pValue.cast::<u8>(), one.ulValueLen as usize) }.to_vec())
}

/// The logout came between the Init and this.
fn has_lost_its_operation(call: &Call) -> bool {
    let is_work = matches!(call.function.step(), Some((_, step)) if step != Step::Init);
    is_work && call.known.as_ref().is_some_and(|session| session.has_lost_operations())
}
