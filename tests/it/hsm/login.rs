//! The start on a token, the login, and what becomes of it.

use std::path::PathBuf;
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use strongroom::hsm::command::{Check, Generate, Place};
use strongroom::hsm::{Kind, PinSource, Settings, TokenSelector, init_wrapping_key};
use strongroom::key::material::MaterialId;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{aes, intruder, kind, make, open, seal, soon, stored, wrapped};
use crate::engine::Engine;
use crate::faults::Faults;
use crate::tokens::{PIN, bare_token, token};

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_refused() {
    let (faults, good) = Faults::before(token());
    let (bad, file) = with_own_pin(&good, "not the PIN");
    let error = Engine::start(bad.clone()).err().unwrap();
    assert_eq!((error.kind, &*error.function, &*error.code), (Kind::PinRefused, "C_Login", "CKR_PIN_INCORRECT"));
    assert!(!format!("{error} {error:?}").contains("not the PIN"));
    assert_eq!(faults.calls("C_Login").len(), 1, "the token has seen the wrong PIN once");

    // The next start knows, and does not even load the module.
    let error = Engine::start(Settings { module: "/nowhere".into(), ..bad.clone() }).err().unwrap();
    assert_eq!(error.kind, Kind::PinRefused);
    assert!(error.code.contains("retry-pin"), "{error}");

    // Another PIN is tried, and when it is right the wrong one is forgotten.
    std::fs::write(&file, PIN).unwrap();
    drop(Engine::start(bad.clone()).unwrap());
    std::fs::write(&file, "not the PIN").unwrap();
    assert_eq!(&*Engine::start(bad).err().unwrap().code, "CKR_PIN_INCORRECT");
    Engine::start(good).unwrap();
}

/// The same HSM with a PIN file of its own.
fn with_own_pin(settings: &Settings, pin: &str) -> (Settings, PathBuf) {
    let file = settings.ledger.with_extension("pin");
    std::fs::write(&file, pin).unwrap();
    (Settings { pin: PinSource::File(file.clone()), ..settings.clone() }, file)
}

#[tokio::test]
async fn a_token_that_is_not_there_is_named() {
    let error = Engine::start(Settings { token: TokenSelector::labelled("nowhere"), ..bare_token() }).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.to_string().contains("no token fits") && error.to_string().contains("nowhere"), "{error}");
    let slot_alone = TokenSelector { slot_id: Some(0), ..TokenSelector::default() };
    let error = Engine::start(Settings { token: slot_alone, ..bare_token() }).err().unwrap();
    assert!(error.to_string().contains("a slot alone moves"), "{error}");
    let error = Engine::start(Settings { module: "/nowhere.so".into(), ..bare_token() }).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
}

#[tokio::test]
async fn a_module_is_not_told_two_things_in_one_process() {
    let other = Settings { init_reserved: Some("another text".to_owned()), ..token() };
    let error = Engine::start(other).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.to_string().contains("two hsm.init_reserved"), "{error}");
}

#[tokio::test]
async fn the_wrapping_key_is_made_once_and_can_be_made_later() {
    let settings = Settings { holds_wrapping_key: false, ..bare_token() };
    let hsm = Engine::start(settings.clone()).unwrap();
    let (id, spec, usage) = (MaterialId([0; 32]), KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let generate = || Generate { id, spec, usage, place: wrapped() };
    assert_eq!(kind(hsm.call(generate(), soon()).await), Kind::NoWrappingKey);
    let made = init_wrapping_key(&settings).unwrap();
    assert!(made.created && made.cka_id.len() == 16);
    assert!(made.to_string().starts_with("wrapping key made, CKA_ID "), "{made}");
    let again = init_wrapping_key(&settings).unwrap();
    assert!(!again.created && again.cka_id == made.cka_id);
    assert!(hsm.call(generate(), soon()).await.is_ok());
}

/// Afterwards nobody is logged in. An HSM that works on without a login may not have been logged in to since the last time.
fn log_out(settings: &Settings) {
    let done = intruder(settings).logout();
    assert!(matches!(done, Ok(()) | Err(Error::Pkcs11(RvError::UserNotLoggedIn, _))), "{done:?}");
}

#[tokio::test]
async fn a_lost_login_is_made_again() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    for _ in 0..2 {
        log_out(&settings);
        assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"x");
    }
    assert_eq!(hsm.call(Check, soon()).await, Ok(()));
}

#[tokio::test]
async fn a_pin_that_was_changed_is_tried_once_more_and_never_again() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    let intruder = intruder(&settings);
    intruder.set_pin(&PIN.to_owned().into(), &"another pin".to_owned().into()).unwrap();
    intruder.logout().unwrap();
    for _ in 0..3 {
        assert_eq!(kind(seal(&hsm, &key, b"x").await), Kind::PinRefused);
    }
    let logins: Vec<_> = hsm.errors().into_iter().filter(|error| error.code == "CKR_PIN_INCORRECT").collect();
    assert_eq!(logins.iter().map(|error| (&*error.function, error.count)).collect::<Vec<_>>(), [("C_Login", 1)]);
}

#[tokio::test]
async fn without_a_login_nothing_is_taken_for_gone() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let place = stored();
    let Place::Token { cka_id } = place else { panic!("not stored") };
    let key = make(&hsm, KeySpec::SymmetricDefault, place).await;
    log_out(&settings);
    assert_eq!(hsm.call(Check, soon()).await, Ok(()));
    log_out(&settings);
    aes(&hsm).await;
    log_out(&settings);
    make(&hsm, KeySpec::SymmetricDefault, stored()).await;
    log_out(&settings);
    assert!(hsm.destroy(&key, soon()).await.is_ok());
    assert!(intruder(&settings).find_objects(&[Attribute::Id(cka_id.to_vec())]).unwrap().is_empty());
}

#[tokio::test]
async fn two_engines_share_a_token_and_one_stops() {
    let settings = token();
    let (one, other) = (Engine::start(settings.clone()).unwrap(), Engine::start(settings.clone()).unwrap());
    let key = aes(&one).await;
    let sealed = seal(&one, &key, b"x").await.unwrap();
    assert!(one.retire(Duration::from_secs(10)) && one.retire(Duration::ZERO));
    assert_eq!(kind(one.call(Check, soon()).await), Kind::DeviceLost);
    assert_eq!(open(&other, &key, b"aad", &sealed).await.unwrap(), b"x");
    // Logged in by the first already; a second login is none.
    assert!(intruder(&settings).login(UserType::User, Some(&PIN.to_owned().into())).is_err());
}
