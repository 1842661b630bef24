//! Whether the data is to blame or the HSM (`hsm/engine/doubt.rs`), where the HSM is ill for a moment only.

use std::time::{Duration, Instant};

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_GENERAL_ERROR};
use serde_json::json;
use strongroom_faults::{rule::Rule, world::World};

use crate::rig::{Options, Rig};

/// The known answer does not come, but before that is noticed something else succeeds: the HSM is well again, and the data
/// was refused only once.
#[test]
fn data_that_was_refused_once_is_not_blamed_by_an_hsm_that_got_well_meanwhile() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let key = rig.ok("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].clone();
    let encrypt = json!({"KeyId": key, "Plaintext": "eA=="});
    let decrypt = json!({"CiphertextBlob": rig.ok("Encrypt", &encrypt)["CiphertextBlob"]});
    let faults = rig.faults();
    faults.rule(Rule::on("C_Decrypt").once().before().answer(CKR_GENERAL_ERROR));
    let known_answer = faults.rule(Rule::on("C_Decrypt").nth(2).once().before().stop());
    faults.rule(Rule::on("C_Decrypt").nth(2).once().after().answer(CKR_GENERAL_ERROR));

    let (caller, body) = (rig.caller(), decrypt.clone());
    let decrypted = rig.runtime.spawn(async move { caller.call("Decrypt", &body).await });
    assert!(faults.wait_stopped(known_answer, Duration::from_secs(2)));
    rig.ok("Encrypt", &encrypt);
    faults.release();
    let answer = rig.runtime.block_on(decrypted).unwrap();

    assert_eq!(answer.code(), "DependencyTimeoutException", "{}", answer.body);
    assert!(rig.recovers("Decrypt", &decrypt, Duration::from_secs(2)).is_some());
    assert_eq!(faults.complaints(), Vec::<String>::new());
}

/// One call notices that another HSM has taken its place, and then it is there: what is tried again has a handle of its own.
#[test]
fn a_command_is_not_tried_again_with_a_handle_from_before_the_failure() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let key = rig.ok("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].clone();
    let encrypt = json!({"KeyId": key, "Plaintext": "eA=="});
    rig.ok("Encrypt", &encrypt);
    let faults = rig.faults();
    let noticed = faults.rule(Rule::on("C_EncryptInit").once().before().answer(CKR_DEVICE_ERROR));
    faults.world(World::Failover { millis: 0 });

    rig.ok("Encrypt", &encrypt);
    assert_eq!((faults.hits(noticed), faults.complaints()), (1, Vec::<String>::new()));
}

/// The session that has the key is given up while the key is in use, and is closed when it no longer is.
#[test]
fn a_key_that_is_in_use_is_not_taken_away() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options { cached_handles: 8, ..Options::default() });
    let [signs, other] = [json!({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}), json!({})]
        .map(|request| rig.ok("CreateKey", &request)["KeyMetadata"]["KeyId"].clone());
    let mut verify = json!({"KeyId": signs, "Message": "eA==", "SigningAlgorithm": "RSASSA_PSS_SHA_256"});
    verify["Signature"] = rig.ok("Sign", &verify)["Signature"].clone();
    rig.ok("Verify", &verify);
    let faults = rig.faults();
    let (sessions, held) = (faults.open_sessions(), faults.rule(Rule::on("C_Verify").once().before().stop()));
    let (caller, body) = (rig.caller(), verify.clone());
    let verified = rig.runtime.spawn(async move { caller.call("Verify", &body).await });
    assert!(faults.wait_stopped(held, Duration::from_secs(2)));

    // What the anchor does next fails so that it gives its session up.
    faults.rule(Rule::on("C_UnwrapKey").once().before().answer(CKR_DEVICE_REMOVED));
    let encrypt = json!({"KeyId": other, "Plaintext": "eA=="});
    assert!(rig.recovers("Encrypt", &encrypt, Duration::from_secs(2)).is_some());
    assert_eq!(faults.open_sessions(), sessions + 1, "that of the key beside its successor");
    faults.release();
    let answer = rig.runtime.block_on(verified).unwrap();

    assert_eq!((answer.status, &answer.body["SignatureValid"]), (200, &json!(true)), "{}", answer.body);
    let began = Instant::now();
    while faults.open_sessions() > sessions {
        assert!(began.elapsed() < Duration::from_secs(2), "that of the key is not closed");
        std::thread::sleep(Duration::from_millis(5));
    }
    rig.ok("Sign", &json!({"KeyId": signs, "Message": "eA==", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}));
    assert_eq!(faults.complaints(), Vec::<String>::new());
}
