//! From the operator's settings to a logged-in session: the module, the one token that is meant, the login.
//!
//! A module is loaded and initialised once per process and stays loaded: unloading one with threads inside is how processes
//! die. C_Finalize is never called, because it would end everyone's sessions.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::secret::SecretText;

use super::crypto::Line;
use super::raw::{self, Calls};
use super::slots::{Token, Tokens};
use crate::hsm::error::{HsmError, Kind, NO_TOKEN};
use crate::hsm::ledger::Ledger;
use crate::hsm::pin::PinSource;
use crate::hsm::settings::Settings;

/// A loaded and initialised PKCS#11 module.
#[derive(Clone)]
pub(super) struct Module {
    pub(super) pkcs11: Pkcs11,
    pub(super) calls: Calls,
    /// What C_Initialize was told.
    reserved: Option<CString>,
    /// Held by whatever changes tokens at start: SoftHSM2 fails some calls when two threads do that at once.
    setup: Arc<Mutex<()>>,
}

static LOADED: Mutex<Vec<(PathBuf, Module)>> = Mutex::new(Vec::new());

impl Module {
    /// Loads the module that the settings name, or finds it loaded.
    pub(super) fn of(settings: &Settings) -> Result<Self, HsmError> {
        Self::load(&settings.module, settings.init_reserved.as_deref())
    }

    fn load(path: &Path, reserved: Option<&str>) -> Result<Self, HsmError> {
        let reserved = reserved.map(CString::new).transpose();
        let reserved = reserved.map_err(|_| HsmError::misconfigured("load", "hsm.init_reserved has a zero byte"))?;
        let mut loaded = LOADED.lock();
        if let Some((_, module)) = loaded.iter().find(|(other, _)| other == path) {
            return module.clone().initialized_with(&reserved);
        }
        let pkcs11 = Pkcs11::new(path).map_err(|error| {
            HsmError::misconfigured("load", format!("the PKCS#11 module `{}` does not load: {error}", path.display()))
        })?;
        initialize(&pkcs11, reserved.as_ref())?;
        let module = Self { calls: Calls::load(path)?, pkcs11, reserved, setup: Arc::default() };
        loaded.push((path.to_owned(), module.clone()));
        Ok(module)
    }

    /// Itself, if it was told this: a process initialises a module once.
    fn initialized_with(self, reserved: &Option<CString>) -> Result<Self, HsmError> {
        match self.reserved == *reserved {
            true => Ok(self),
            false => Err(HsmError::misconfigured("load", "one process cannot use a module with two hsm.init_reserved")),
        }
    }

    /// Until the guard is dropped, no other start-up of this process changes a token of this module.
    pub(super) fn setting_up(&self) -> MutexGuard<'_, ()> {
        self.setup.lock()
    }

    /// Opens a session. All of ours may write: some tokens count the two kinds apart, and none is cheaper.
    pub(super) fn open(&self, slot: Slot) -> Result<Session, HsmError> {
        self.pkcs11.open_rw_session(slot).map_err(|error| HsmError::from(error).in_slot(slot.id()))
    }

    /// Opens a session beside those that are open.
    pub(super) fn open_another(&self, slot: Slot) -> Result<Session, HsmError> {
        self.pkcs11.open_rw_session(slot).map_err(|error| HsmError::from(error).beside_other_sessions())
    }
}

fn initialize(pkcs11: &Pkcs11, reserved: Option<&CString>) -> Result<(), HsmError> {
    match raw::initialize(pkcs11, reserved.map(CString::as_c_str)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Which token is meant, by what is written on it. Slot numbers change when tokens come and go, so a slot alone does not
/// say which token is meant: it only narrows the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSelector {
    /// Label, as it was given when the token was initialised.
    pub label: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Slot number, only beside one of the others.
    pub slot_id: Option<u64>,
}

impl TokenSelector {
    /// The token with this label.
    pub fn labelled(label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..Self::default() }
    }

    /// Whether the selector says which token is meant.
    fn is_telling(&self) -> bool {
        self.label.is_some() || self.serial.is_some() || self.manufacturer.is_some() || self.model.is_some()
    }

    fn matches(&self, token: &Token) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.label, &token.label)
            && fits(&self.serial, &token.serial)
            && fits(&self.manufacturer, &token.manufacturer)
            && fits(&self.model, &token.model)
            && self.slot_id.is_none_or(|id| id == token.slot.id())
    }

    /// The one initialised token that fits.
    pub(super) fn find(&self, module: &Module) -> Result<Token, HsmError> {
        if !self.is_telling() {
            return Err(no_token("name the HSM's token by label, serial, manufacturer or model; a slot alone moves"));
        }
        let Tokens { all, unread } = Tokens::read(&module.calls)?;
        let (ready, blank): (Vec<_>, Vec<_>) = all.into_iter().partition(Token::is_initialized);
        let mut fitting = ready.iter().filter(|token| self.matches(token));
        match (fitting.next(), fitting.next()) {
            (Some(token), None) => Ok(token.clone()),
            (Some(_), Some(_)) => Err(no_token(format!("several tokens fit {self}; present are {}", names(&ready)))),
            (None, _) => Err(self.unmet(&ready, &blank, unread)),
        }
    }

    /// Why no token fits. It may be the one that cannot be read just now.
    fn unmet(&self, ready: &[Token], blank: &[Token], unread: Vec<HsmError>) -> HsmError {
        if let Some(blank) = blank.iter().find(|token| self.matches(token)) {
            return no_token(format!("the token {blank} fits {self} and is not initialised"));
        }
        match unread.into_iter().next() {
            None => no_token(format!("no token fits {self}; present are {}", names(ready))),
            Some(error) => HsmError { code: format!("{}; no other fits {self}", error.code).into(), ..error },
        }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, serial, manufacturer, model, slot_id } = self;
        let texts = [("label", label), ("serial", serial), ("manufacturer", manufacturer), ("model", model)];
        let said = texts.into_iter().filter_map(|(name, text)| text.as_ref().map(|text| format!("{name} `{text}`")));
        let said: Vec<_> = said.chain(slot_id.map(|id| format!("slot {id}"))).collect();
        f.write_str(&said.join(", "))
    }
}

fn no_token(text: impl Into<std::borrow::Cow<'static, str>>) -> HsmError {
    HsmError::misconfigured(NO_TOKEN, text)
}

fn names(tokens: &[Token]) -> String {
    match tokens {
        [] => "none".to_owned(),
        _ => tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What a login takes: the PIN, and the turn at the HSMs.
pub(super) struct Admission {
    pin: SecretText,
    pub(super) ledger: Ledger,
}

impl Admission {
    /// Waits for both. The PIN comes first: to fetch it may take another HSM, for which somebody else may need the turn.
    ///
    /// # Errors
    /// If there is no PIN, or the HSM has refused it before.
    pub(super) fn ask(settings: &Settings) -> Result<Self, HsmError> {
        let (pin, ledger) = (read_pin(settings)?, Ledger::lock(&settings.ledger)?);
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
pub(super) fn log_in(
    module: &Module,
    slot: Slot,
    session: &Session,
    settings: &Settings,
    admission: &mut Admission,
) -> Result<(), HsmError> {
    let refused = |text| Err(HsmError::new(Kind::PinRefused, "C_GetTokenInfo", text).in_slot(slot.id()));
    let Admission { pin, ledger } = admission;
    let token = Token::read(&module.calls, slot)?;
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
pub(super) fn log_in_as_so(
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
    if Token::read(&module.calls, slot)?.is_last_try_of_so() {
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

/// What the security officer of a member is called in the ledger. No member is called so, for it has a space.
pub(in crate::hsm) fn so_name(member: &str) -> String {
    format!("{member} so")
}

fn read_so_pin(so_pin: &PinSource) -> Result<SecretText, HsmError> {
    so_pin.read().map_err(|text| HsmError::misconfigured("the security officer's PIN", text))
}

/// The PIN, as it is now.
fn read_pin(settings: &Settings) -> Result<SecretText, HsmError> {
    match &settings.held_pin {
        Some(held) => held.give_here(),
        None => settings.pin.read().map_err(|text| HsmError::misconfigured("PIN", format!("hsm.pin: {text}"))),
    }
}

/// Whether the token, which must be there, has a user and does what symmetric keys need, as far as it says. Nobody logs in.
pub(in crate::hsm) fn see(settings: &Settings) -> Result<bool, HsmError> {
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

/// Does one thing with an HSM as its user, and leaves it. `job` also gets the turn at the HSMs: while it keeps that, nobody
/// else of the deployment logs in.
pub(super) fn visit<T>(
    settings: &Settings,
    job: impl FnOnce(Line<'_>, Ledger) -> Result<T, HsmError>,
) -> Result<T, HsmError> {
    visit_token(settings, |line, _, _, ledger| job(line, ledger))
}

/// The same, for a job that is also about the token itself.
pub(super) fn visit_token<T>(
    settings: &Settings,
    job: impl FnOnce(Line<'_>, &Module, &Token, Ledger) -> Result<T, HsmError>,
) -> Result<T, HsmError> {
    let mut admission = Admission::ask(settings)?;
    let module = Module::of(settings)?;
    let _alone = module.setting_up();
    let token = settings.token.find(&module)?;
    let session = module.open(token.slot)?;
    log_in(&module, token.slot, &session, settings, &mut admission)?;
    job(Line { calls: &module.calls, session: &session }, &module, &token, admission.ledger)
}

fn auth_pin(pin: &SecretText) -> AuthPin {
    AuthPin::from(pin.expose().to_owned())
}

/// Makes the token that the settings name, with their PIN and this one of the security officer, for development mode.
pub(in crate::hsm) fn init_token_of(settings: &Settings, so_pin: &PinSource) -> Result<(), HsmError> {
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
    let Tokens { all, .. } = Tokens::read(&module.calls)?;
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
