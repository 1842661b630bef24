//! What modules say of themselves, their slots and their tokens: only what is needed is believed, and only of the token that
//! is meant.

use cryptoki::context::Pkcs11;
use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_TOKEN_NOT_RECOGNIZED};
use strongroom::hsm::{HsmError, Kind, Settings, TokenFacts, TokenSelector, WrappingKeyReport, init_wrapping_key};
use strongroom_faults::rule::{Rule, Tale};

use super::{aes, intruder, open, seal};
use crate::engine::Engine;
use crate::faults::Faults;
use crate::tokens::{module, token};

const TALES: [Tale; 10] = [
    Tale::Blanks,
    Tale::Zeros,
    Tale::Unpadded,
    Tale::Garbage,
    Tale::Flags,
    Tale::Numbers(0),
    Tale::Numbers(1),
    Tale::Numbers(1 << 40),
    Tale::Numbers(u64::MAX - 1),
    Tale::Numbers(u64::MAX),
];

const TELLING: [&str; 3] = ["C_GetInfo", "C_GetSlotInfo", "C_GetTokenInfo"];

/// Finds the token and logs in, as everything does that begins.
fn visit(settings: &Settings) -> Result<WrappingKeyReport, HsmError> {
    init_wrapping_key(settings)
}

/// The slot of the token, and those of all others.
fn slots(settings: &Settings) -> (u64, Vec<u64>) {
    let ours = intruder(settings).get_session_info().unwrap().slot_id();
    let all = Pkcs11::new(module()).unwrap().get_slots_with_token().unwrap();
    (ours.id(), all.into_iter().filter(|slot| *slot != ours).map(|slot| slot.id()).collect())
}

#[test]
fn what_nobody_needs_is_not_believed() {
    let (faults, settings) = Faults::before(token());
    for function in TELLING {
        for tale in TALES {
            let _told = faults.rule(Rule::on(function).tell(tale));
            let found = visit(&settings).unwrap_or_else(|error| panic!("{function} {tale:?}: {error}"));
            assert!(!found.created, "{function} {tale:?}");
        }
    }
    for many in [1, 1 << 20, 1 << 40, u64::MAX] {
        let _asked = faults.rule(Rule::on("C_GetSlotList").once().longer(many));
        assert!(!visit(&settings).unwrap().created, "{many} slots more");
    }
}

#[tokio::test]
async fn an_hsm_that_says_nothing_true_of_itself_works() {
    let (faults, settings) = Faults::before(token());
    let tales = [Tale::Blanks, Tale::Flags, Tale::Numbers(1 << 40)];
    let _told: Vec<_> =
        TELLING.iter().flat_map(|function| tales.map(|tale| faults.rule(Rule::on(function).tell(tale)))).collect();
    let _mute = faults.refuse("C_GetInfo", CKR_FUNCTION_FAILED);
    let hsm = Engine::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"x");
    let TokenFacts { label, serial, library, .. } = hsm.profile().token.clone();
    assert_eq!(Some(label), settings.token.label);
    assert_eq!((serial.as_str(), library.as_str()), ("", "unknown (C_GetInfo: CKR_FUNCTION_FAILED)"));
}

#[test]
fn what_is_wrong_in_another_slot_is_nothing_to_us() {
    let (faults, settings) = Faults::before(token());
    let (_, others) = slots(&settings);
    assert!(!others.is_empty());
    let refuse = |slot: &u64| faults.rule(Rule::on("C_GetTokenInfo").slot(*slot).answer(CKR_TOKEN_NOT_RECOGNIZED));
    let _broken: Vec<_> = others.iter().map(refuse).collect();
    assert!(!visit(&settings).unwrap().created);
}

#[test]
fn an_error_names_the_function_and_the_slot() {
    let (faults, settings) = Faults::before(token());
    let (slot, _) = slots(&settings);
    let _other_slots_change = faults.rule(Rule::on("C_GetTokenInfo").slot(slot).answer(CKR_DEVICE_ERROR));
    let text = visit(&settings).unwrap_err().to_string();
    let label = settings.token.label.as_deref().unwrap();
    assert_eq!(text, format!("C_GetTokenInfo of slot {slot}: CKR_DEVICE_ERROR; no other fits label `{label}`"));
    drop(_other_slots_change);

    let _refused = faults.rule(Rule::on("C_OpenSession").slot(slot).answer(CKR_DEVICE_ERROR));
    let text = visit(&settings).unwrap_err().to_string();
    assert_eq!(text, format!("C_OpenSession of slot {slot}: CKR_DEVICE_ERROR"));
    drop(_refused);

    let _endless = faults.rule(Rule::on("C_GetSlotList").longer(1 << 40));
    let error = visit(&settings).unwrap_err();
    assert_eq!((error.kind, &*error.function), (Kind::SessionLost, "C_GetSlotList"), "{error}");
}

#[test]
fn a_token_that_is_not_there_is_named_as_a_person_would() {
    let settings = token();
    let token = TokenSelector { serial: Some("none".to_owned()), slot_id: Some(7), ..settings.token.clone() };
    let label = settings.token.label.as_deref().unwrap();
    let text = visit(&Settings { token, ..settings.clone() }).unwrap_err().to_string();
    let expected = format!("find token: no token fits label `{label}`, serial `none`, slot 7; present are `");
    assert!(text.starts_with(&expected), "{text}");
}
