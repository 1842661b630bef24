//! Calls of the HSM that never come back.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use strongroom_faults::rule::{Action, Rule};

use crate::{
    load::{Calls, Load, assert_only_retryable, codes, quantile},
    rig::{DEADLINE, Options, Rig},
};

const SESSIONS: usize = 8;
/// Noise of a machine that does other things too.
const NOISE: Duration = Duration::from_millis(10);

fn rig() -> Rig {
    Rig::new(&Options { sessions: SESSIONS, cached_handles: 16, ..Options::default() })
}

fn hang_for_ever(sessions: u64) -> Rule {
    Rule::on("C_Encrypt").times(sessions).before().act(Action::HangForEver)
}

/// What callers see in a while of load.
fn measure(rig: &Rig, calls: &Calls, during: impl FnOnce()) -> Vec<crate::load::Done> {
    let load = Load::closed(rig, calls, 4);
    during();
    let done = load.stop(rig);
    assert_only_retryable(&done);
    done
}

#[test]
fn one_session_that_hangs_does_not_slow_the_others() {
    let _turn = crate::turn();
    let rig = rig();
    let calls = Calls::of(&rig);
    let window = Duration::from_secs(3);
    let before = measure(&rig, &calls, || thread::sleep(window));
    let rule = rig.faults().rule(hang_for_ever(1));
    let during = measure(&rig, &calls, || thread::sleep(window));
    assert_eq!(rig.faults().hits(rule), 1);
    let (usual, hanging) = (quantile(&before, 0.99), quantile(&during, 0.99));
    println!("p99 {usual:.1?} before, {hanging:.1?} with one of {SESSIONS} sessions hanging; {:?}", codes(&during));
    assert!(hanging <= 2 * usual + NOISE, "{hanging:?} is more than twice {usual:?}");
    assert_eq!(codes(&during).get("DependencyTimeoutException"), Some(&1), "the one call that hung");
    assert_eq!(rig.faults().complaints(), Vec::<String>::new());
}

#[test]
fn when_every_session_hangs_the_worker_is_replaced() {
    let _turn = crate::turn();
    let rig = rig();
    let calls = Calls::of(&rig);
    let worker = rig.faults().instances();
    assert_eq!(worker.len(), 1);
    let load = Load::closed(&rig, &calls, 2 * SESSIONS);
    let rule = rig.faults().rule(hang_for_ever(SESSIONS as u64));
    let began = Instant::now();
    let is_new = |rig: &Rig| rig.faults().instances().iter().any(|pid| !worker.contains(pid));
    while !is_new(&rig) && began.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    let replaced = began.elapsed();
    // From here on nothing fails.
    thread::sleep(Duration::from_secs(1));
    let good_from = Instant::now();
    thread::sleep(Duration::from_secs(1));
    let done = load.stop(&rig);
    assert_only_retryable(&done);
    let late: Vec<_> = done.iter().filter(|done| done.began > good_from && !done.code.is_empty()).collect();
    println!("{} hung; the worker was replaced after {replaced:.1?}; {:?}", rig.faults().hits(rule), codes(&done));
    assert!(replaced <= Duration::from_secs(10), "{replaced:?}");
    assert!(late.is_empty(), "{late:?}");
    let slow = done.iter().map(|done| done.ended - done.began).max().unwrap();
    assert!(slow <= DEADLINE + Duration::from_millis(250), "a call took {slow:?}");
    assert_eq!(rig.faults().complaints(), Vec::<String>::new());
}

/// An RSA pair may take the HSM longer than any request may take; here a pair on a curve stands for it.
#[test]
fn a_pair_that_took_long_is_encrypted_all_the_same() {
    let _turn = crate::turn();
    let rig = rig();
    let key = rig.ok("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].clone();
    rig.faults().rule(Rule::on("C_GenerateKeyPair").once().before().delay_ms(DEADLINE.as_millis() as u64 + 100));
    let made = rig.call("GenerateDataKeyPair", &json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}));
    assert_eq!(made.status, 200, "{}", made.body);
    assert!(made.took > DEADLINE, "{:?}", made.took);
    let opened = rig.ok("Decrypt", &json!({"CiphertextBlob": made.body["PrivateKeyCiphertextBlob"]}));
    assert_eq!(opened["Plaintext"], made.body["PrivateKeyPlaintext"]);
}
