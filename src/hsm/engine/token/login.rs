//! Logins: the PIN is tried once, by one process of the deployment at a time.

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use crate::hsm::error::{HsmError, Kind};
use crate::hsm::ledger::Ledger;
use crate::hsm::pin::PinSource;
use crate::hsm::settings::Settings;
use crate::secret::SecretText;

use super::module::Module;
use super::slots::Token;

/// Permission to log in: the PIN, and the turn at the HSMs.
pub(in crate::hsm) struct Admission {
    pin: SecretText,
    pub(in crate::hsm) ledger: Ledger,
}

impl Admission {
    /// Waits for both. The PIN comes first: to fetch it may take another HSM, for which somebody else may need the turn.
    ///
    /// # Errors
    /// If there is no PIN, or the HSM has refused it before.
    pub(in crate::hsm) fn ask(settings: &Settings) -> Result<Self, HsmError> {
        let pin = read_pin(settings)?;
        let ledger = Ledger::lock(&settings.ledger)?;
        match ledger.has_refused(&settings.name, &pin) {
            true => Err(HsmError::new(
                Kind::PinRefused,
                "C_Login",
                "the PIN was refused before and is not tried again; correct it, or let it be tried with `strongroom hsm retry-pin`",
            )),
            false => Ok(Self { pin, ledger }),
        }
    }
}

/// Logs in, once. The login is the process's, so finding it done is success. A PIN that might be the last one before the token
/// locks is not tried at all.
pub(in crate::hsm) fn log_in(
    module: &Module,
    slot: Slot,
    session: &Session,
    settings: &Settings,
    admission: &mut Admission,
) -> Result<(), HsmError> {
    let refused = |text| Err(HsmError::new(Kind::PinRefused, "C_GetTokenInfo", text).in_slot(slot.id()));
    let Admission { pin, ledger } = admission;
    let token = Token::read(&module.functions, slot)?;
    if token.user_is_locked() {
        return refused("the user PIN is locked");
    }
    if token.is_last_try_of_user() {
        return refused("one more wrong PIN would lock the token");
    }
    match session.login(UserType::User, Some(&auth_pin(pin))) {
        Ok(()) => ledger.note_accepted(&settings.name),
        // The PIN was not looked at, so nothing is known of those that were refused.
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => {
            let error = HsmError::from(error);
            if error.kind == Kind::PinRefused {
                ledger.note_refused(&settings.name, pin)?;
            }
            Err(error)
        }
    }
}

/// Logs in as the security officer, with the same care, and under a name of its own in the ledger.
pub(in crate::hsm) fn log_in_as_so(
    module: &Module,
    slot: Slot,
    session: &Session,
    settings: &Settings,
    so_pin: &PinSource,
    ledger: &mut Ledger,
) -> Result<(), HsmError> {
    let refused = |text: &str| Err(HsmError::new(Kind::PinRefused, "the security officer's login", text.to_owned()));
    let pin = read_so_pin(so_pin)?;
    let name = so_name(&settings.name);
    if ledger.has_refused(&name, &pin) {
        return refused(
            "the PIN was refused before and is not tried again; correct it, or see `strongroom hsm retry-pin`",
        );
    }
    if Token::read(&module.functions, slot)?.is_last_try_of_so() {
        return refused("the PIN is locked, or would be after one more wrong one");
    }
    match session.login(UserType::So, Some(&auth_pin(&pin))).map_err(HsmError::from) {
        Ok(()) => ledger.note_accepted(&name),
        Err(error) if error.kind == Kind::PinRefused => {
            ledger.note_refused(&name, &pin)?;
            refused(&error.code)
        }
        Err(error) => Err(error),
    }
}

/// The name of a member's security officer in the ledger. No member is called so, for it has a space.
pub(in crate::hsm) fn so_name(member: &str) -> String {
    format!("{member} so")
}

pub(in crate::hsm) fn read_so_pin(so_pin: &PinSource) -> Result<SecretText, HsmError> {
    so_pin.read().map_err(|text| HsmError::misconfigured("the security officer's PIN", text))
}

/// The PIN, as it is now.
pub(in crate::hsm) fn read_pin(settings: &Settings) -> Result<SecretText, HsmError> {
    match &settings.held_pin {
        Some(held) => held.give_here(),
        None => settings.pin.read().map_err(|text| HsmError::misconfigured("PIN", format!("hsm.pin: {text}"))),
    }
}

pub(in crate::hsm) fn auth_pin(pin: &SecretText) -> AuthPin {
    AuthPin::from(pin.expose().to_owned())
}
