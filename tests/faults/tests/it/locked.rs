//! A PIN that locks, which SoftHSM2's never does.

use cryptoki_sys::*;
use strongroom_faults::control::World;

use crate::call;
use crate::token::{Bench, PIN};

#[test]
fn three_wrong_pins_lock_it() {
    let bench = Bench::new();
    let session = bench.open();
    let about_pin = || {
        let flags = bench.p11.token_flags(bench.slot).unwrap();
        flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)
    };
    bench.control.world(World::LockPinAfter { tries: 3 });
    assert_eq!(about_pin(), 0);
    assert_eq!((bench.p11.login(session, "wrong-1"), about_pin()), (CKR_PIN_INCORRECT, CKF_USER_PIN_COUNT_LOW));
    let last = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
    assert_eq!((bench.p11.login(session, "wrong-2"), about_pin()), (CKR_PIN_INCORRECT, last));
    let locked = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED;
    assert_eq!((bench.p11.login(session, "wrong-3"), about_pin()), (CKR_PIN_INCORRECT, locked));
    assert_eq!(bench.p11.login(session, PIN), CKR_PIN_LOCKED, "the right one is too late");
    assert_eq!(std::fs::read_to_string(bench.dir.path().join("pin-failures")).unwrap(), "3");
    bench.control.world(World::ResetPin);
    assert_eq!((bench.p11.login(session, PIN), about_pin()), (CKR_OK, 0));
}

#[test]
fn a_right_pin_forgives_the_wrong_ones() {
    let bench = Bench::new();
    let session = bench.open();
    bench.control.world(World::LockPinAfter { tries: 3 });
    for _ in 0..4 {
        assert_eq!(bench.p11.login(session, "wrong"), CKR_PIN_INCORRECT);
        assert_eq!(bench.p11.login(session, PIN), CKR_OK);
        assert_eq!(call!(bench.p11, C_Logout(session)), CKR_OK);
    }
}

#[test]
fn logins_are_counted_for_each_pin_and_no_pin_is_told() {
    let bench = Bench::new();
    let session = bench.open();
    for pin in ["wrong", "other", PIN, PIN] {
        bench.p11.login(session, pin);
    }
    let logins = bench.control.logins();
    assert_eq!(logins.len(), 3);
    let right = logins.iter().find(|login| login.attempts == 2).unwrap();
    let outcomes: Vec<_> = right.outcomes.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    assert_eq!(outcomes, [("CKR_OK", 1), ("CKR_USER_ALREADY_LOGGED_IN", 1)]);
    assert!(logins.iter().all(|login| login.pin.len() == 8), "{logins:?}");
    assert_eq!(bench.control.complaints(), [""; 0]);
}

#[test]
fn a_pin_that_was_refused_must_not_be_tried_again() {
    let bench = Bench::new();
    let session = bench.open();
    bench.p11.login(session, "wrong");
    assert_eq!(bench.control.complaints(), [""; 0]);
    bench.p11.login(session, "wrong");
    assert_eq!(bench.control.complaints(), ["C_Login: again with a PIN that has been refused"]);
}
