//! From the operator's settings to a logged-in session: the module, the one token that is meant, the login.

pub(in crate::hsm) mod find;
pub(in crate::hsm) mod login;
pub(in crate::hsm) mod module;
pub(in crate::hsm) mod slots;

use crate::hsm::error::HsmError;
use crate::hsm::ledger::Ledger;
use crate::hsm::settings::Settings;

use super::calls::session_calls::SessionCalls;
use login::{Admission, log_in};
use module::Module;
use slots::Token;

/// Does one thing with an HSM as its user, and leaves it. `job` also gets the turn at the HSMs: while it keeps that, nobody
/// else of the deployment logs in.
pub(in crate::hsm) fn visit<T>(
    settings: &Settings,
    job: impl FnOnce(SessionCalls<'_>, Ledger) -> Result<T, HsmError>,
) -> Result<T, HsmError> {
    visit_token(settings, |calls, _, _, ledger| job(calls, ledger))
}

/// The same, for a job that is also about the token itself.
pub(in crate::hsm) fn visit_token<T>(
    settings: &Settings,
    job: impl FnOnce(SessionCalls<'_>, &Module, &Token, Ledger) -> Result<T, HsmError>,
) -> Result<T, HsmError> {
    let mut admission = Admission::ask(settings)?;
    let module = Module::of(settings)?;
    let _alone = module.setting_up();
    let token = settings.token.find(&module)?;
    let session = module.open(token.slot)?;
    log_in(&module, token.slot, &session, settings, &mut admission)?;
    job(SessionCalls { functions: &module.functions, session: &session }, &module, &token, admission.ledger)
}
