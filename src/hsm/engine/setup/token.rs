//! Looking for a token, and making one.

use std::path::Path;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::UserType;
use serde::{Deserialize, Serialize};

use crate::hsm::engine::token::find::no_token;
use crate::hsm::engine::token::login::{auth_pin, read_pin, read_so_pin};
use crate::hsm::engine::token::module::Module;
use crate::hsm::engine::token::slots::{Token, Tokens};
use crate::hsm::error::HsmError;
use crate::hsm::ledger::Ledger;
use crate::hsm::pin::PinSource;
use crate::hsm::settings::Settings;
use crate::secret::SecretText;

use super::CarryOut;

/// Makes the token itself, for development.
#[derive(Serialize, Deserialize)]
pub struct InitToken {
    /// The security officer's PIN of the new token.
    pub so_pin: PinSource,
}

impl CarryOut for InitToken {
    type Answer = ();

    fn run(self, settings: &Settings) -> Result<(), HsmError> {
        init_token_of(settings, &self.so_pin)
    }
}

/// Looks for the token, and answers true if it can be used.
#[derive(Serialize, Deserialize)]
pub struct FindToken;

impl CarryOut for FindToken {
    type Answer = bool;

    fn run(self, settings: &Settings) -> Result<bool, HsmError> {
        see(settings)
    }
}

/// True if the token, which must be there, has a user and does what symmetric keys need, as far as it says. Nobody logs in.
fn see(settings: &Settings) -> Result<bool, HsmError> {
    let _turn = Ledger::lock(&settings.ledger)?;
    let module = Module::of(settings)?;
    let _alone = module.setting_up();
    let token = settings.token.find(&module)?;
    let has_gcm = match module.pkcs11.get_mechanism_info(token.slot, MechanismType::AES_GCM) {
        Ok(_) => true,
        Err(Error::Pkcs11(RvError::MechanismInvalid, _)) => false,
        Err(error) => return Err(HsmError::from(error).in_slot(token.slot.id())),
    };
    Ok(token.has_user() && has_gcm)
}

/// Makes the token that the settings name, with their PIN and this one of the security officer, for development mode.
fn init_token_of(settings: &Settings, so_pin: &PinSource) -> Result<(), HsmError> {
    let _turn = Ledger::lock(&settings.ledger)?;
    let label = settings.token.label.as_deref().unwrap_or_default();
    init_token(&settings.module, label, &read_so_pin(so_pin)?, &read_pin(settings)?)
}

/// Makes a new token in the first slot that has none, for development mode and tests. Refuses a label that is taken.
pub fn init_token(module: &Path, label: &str, so_pin: &SecretText, user_pin: &SecretText) -> Result<(), HsmError> {
    if label.is_empty() || label.len() > 32 {
        return Err(no_token("a token label has 1 to 32 bytes"));
    }
    let module = Module::load(module, None)?;
    let _alone = module.setting_up();
    let Tokens { all, .. } = Tokens::read(&module.functions)?;
    let (ready, blank): (Vec<_>, Vec<_>) = all.into_iter().partition(Token::is_initialized);
    if ready.iter().any(|token| token.label == label) {
        return Err(no_token(format!("there is a token `{label}` already")));
    }
    let slot = blank.first().ok_or_else(|| no_token("no slot has an uninitialised token"))?.slot;
    module.pkcs11.init_token(slot, &auth_pin(so_pin), label)?;
    let session = module.open(slot)?;
    session.login(UserType::So, Some(&auth_pin(so_pin)))?;
    session.init_pin(&auth_pin(user_pin))?;
    Ok(session.logout()?)
}
