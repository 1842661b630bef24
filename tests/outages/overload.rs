//! More slow work than the HSM can do in time, which is no fault of the HSM; and calls that do not return, which are one.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use strongroom_faults::rule::{Action, Rule};

use crate::{
    load::{Calls, Load, codes},
    rig::{GENERATION_DEADLINE, Options, Rig},
};

const FLOOD: usize = 40;
/// How long a key pair takes: of the flood, three have their turn in time.
const GENERATION: Duration = Duration::from_secs(1);

fn rig() -> Rig {
    Rig::new(&Options { sessions: 4, cached_handles: 16, ..Options::default() })
}

fn count(rig: &Rig, function: &str) -> usize {
    rig.faults().calls().iter().filter(|call| call.function == function).count()
}

/// Whether the breaker has opened: then the HSM is asked to let us in anew.
fn logs_in_within(rig: &Rig, patience: Duration) -> bool {
    let began = Instant::now();
    while count(rig, "C_Login") == 0 {
        if began.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_flood_of_slow_calls_says_nothing_against_the_hsm() {
    let _turn = crate::turn();
    let rig = rig();
    let calls = Calls::of(&rig);
    let load = Load::closed(&rig, &calls, 2);
    thread::sleep(Duration::from_millis(200));
    rig.faults().reset_calls();
    rig.faults().rule(Rule::on("C_GenerateKeyPair").before().delay_ms(GENERATION.as_millis() as u64));
    let caller = rig.caller();
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let caller = caller.clone();
            let rsa = json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"});
            rig.runtime.spawn(async move { caller.call("CreateKey", &rsa).await })
        })
        .collect();
    let answers: Vec<_> = flood.into_iter().map(|one| rig.runtime.block_on(one).unwrap()).collect();
    // What would have been said against it comes after the deadline.
    let logs_in = logs_in_within(&rig, Duration::from_millis(500));
    let done = load.stop(&rig);
    let in_time = answers.iter().filter(|answer| answer.status == 200).count();
    println!("{in_time} of {FLOOD} pairs in time; beside them {:?}; {} logins", codes(&done), count(&rig, "C_Login"));
    assert!((1..10).contains(&in_time), "{in_time}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(["DependencyTimeoutException", "ThrottlingException"].contains(&answer.code()), "{}", answer.body);
        assert!(answer.took < GENERATION_DEADLINE + Duration::from_millis(500), "{:?}", answer.took);
    }
    assert_eq!(codes(&done).keys().collect::<Vec<_>>(), [&""], "other callers' calls go on");
    assert!(!logs_in, "the breaker has opened, and all handles are gone");
    assert_eq!(rig.hsm.standing()[0].restarts, 0);
}

#[test]
fn calls_that_do_not_return_open_the_breaker() {
    let _turn = crate::turn();
    let rig = rig();
    let key = rig.ok("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].clone();
    let encrypt = json!({"KeyId": key, "Plaintext": "eA=="});
    rig.ok("Encrypt", &encrypt);
    rig.faults().reset_calls();
    rig.faults().rule(Rule::on("C_Encrypt").times(3).before().act(Action::HangForEver));
    let caller = rig.caller();
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let (caller, encrypt) = (caller.clone(), encrypt.clone());
            rig.runtime.spawn(async move { caller.call("Encrypt", &encrypt).await })
        })
        .collect();
    for one in stuck {
        assert_eq!(rig.runtime.block_on(one).unwrap().code(), "DependencyTimeoutException");
    }
    assert!(logs_in_within(&rig, Duration::from_secs(2)), "nobody asked whether the HSM is well");
    assert!(rig.recovers("Encrypt", &encrypt, Duration::from_secs(2)).is_some());
}
