//! The store, the HSMs and the operator's verbs, as the configuration names them.

use std::io;

use super::{ExitError, operator::os_user};
use crate::{
    audit::TrailAddress,
    clock::{Clock, SystemClock},
    config::Config,
    hsm::{self, HeldPin, PinSource},
    kms::admin::{Admin, Operator},
    store::Store,
};

/// Opens the store.
///
/// # Errors
/// If it cannot be read, is of a version that this program does not know, or would be made by root in another user's directory.
pub async fn open_store(config: &Config) -> Result<Store, ExitError> {
    if let Some(directory) = config.store.path.parent().filter(|_| !config.store.path.exists()) {
        os_user::refuse_root_in_directory_of_another(directory)?;
    }
    Store::open(&config.store.path).await.map_err(ExitError::new)
}

/// The verbs of the operator who runs this program, on `store`.
///
/// # Errors
/// If the path of the audit trail is not valid.
pub fn admin(config: &Config, store: Store) -> Result<Admin, ExitError> {
    let wrong = |error| ExitError::new(format!("audit.path: {}: {error}", config.audit.path.display()));
    let trail = TrailAddress::of(&config.audit.path).map_err(wrong)?;
    let operator = Operator { os_user: os_user::current(), trail };
    Ok(Admin::new(store, config.account.clone(), config.partition.clone(), operator, SystemClock.now()))
}

/// The service's own HSMs, and those for custom key stores.
pub(super) fn all_hsms(config: &Config) -> Result<Vec<hsm::Settings>, ExitError> {
    let clusters = config.cluster_settings().map_err(ExitError::new)?.into_iter().map(|cluster| cluster.settings);
    Ok(config.hsm_settings().map_err(ExitError::new)?.into_iter().chain(clusters).collect())
}

/// The service's own HSMs, unless the environment has a module write PINs to a file. Called once in a process: a PIN comes through
/// a pipe only once.
pub(super) fn members(config: &Config) -> Result<Vec<hsm::Settings>, ExitError> {
    let members = config.hsm_settings().map_err(ExitError::new)?;
    let all = all_hsms(config)?;
    let of_modules = all.iter().flat_map(|hsm| hsm.environment.keys().cloned());
    let of_this_process = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    refuse_pin_logging(of_this_process.chain(of_modules))?;
    with_rereadable_pins(members).map_err(|error| ExitError::new(format!("hsm.pin: {error}")))
}

/// Some modules, and some environments, write every PKCS#11 call to a file, PINs included.
fn refuse_pin_logging(mut environment: impl Iterator<Item = String>) -> Result<(), ExitError> {
    let logs_calls = |name: &str| {
        matches!(name, "PKCS11SPY" | "P11_KIT_DEBUG")
            || name.ends_with("_PKCS11_DBG")
            || name.starts_with("PKCS11_LOGGER_")
    };
    match environment.find(|name| logs_calls(name)) {
        Some(name) => Err(ExitError::new(format!("{name} is set: it may write PINs to a file. Unset it."))),
        None => Ok(()),
    }
}

/// HSMs whose PINs come through one pipe share what is read of it: only the first to read it would get the PIN.
fn with_rereadable_pins(members: Vec<hsm::Settings>) -> io::Result<Vec<hsm::Settings>> {
    let mut known: Vec<(PinSource, Option<HeldPin>)> = Vec::new();
    let reread = members.into_iter().map(|settings| {
        let held_pin = match known.iter().find(|(from, _)| *from == settings.pin) {
            Some((_, held)) => held.clone(),
            None => HeldPin::of_pipe(&settings.pin)?,
        };
        known.push((settings.pin.clone(), held_pin.clone()));
        Ok(hsm::Settings { held_pin, ..settings })
    });
    reread.collect()
}
