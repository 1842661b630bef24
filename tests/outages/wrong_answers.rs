//! An HSM that says that all is well and gives another output than it should.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use strongroom_faults::rule::Rule;

use crate::rig::{Answer, Options, Rig};

/// One answer in so many is proved (`hsm/engine/proof.rs`).
const PROVED: usize = 64;

fn key(rig: &Rig, body: &Value) -> String {
    rig.ok("CreateKey", body)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn encrypt(rig: &Rig, key: &str) -> Answer {
    rig.call("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}))
}

fn decrypted(rig: &Rig, blob: &Value) -> Value {
    rig.ok("Decrypt", &json!({"CiphertextBlob": blob}))["Plaintext"].clone()
}

/// Room for one handle, and another key to take it.
fn cold(rig: &Rig, other: &str) {
    let answer = encrypt(rig, other);
    assert_eq!(answer.status, 200, "{} after {:?}", answer.body, answer.took);
}

fn flips(function: &str) -> Rule {
    Rule::on(function).after().flip_bit()
}

#[test]
fn one_wrong_answer_is_not_given_and_one_in_another_session_is() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let [one, other] = [key(&rig, &json!({})), key(&rig, &json!({}))];
    let blob = encrypt(&rig, &one).body["CiphertextBlob"].clone();
    for (function, operation, body, sealed) in [
        ("C_Encrypt", "Encrypt", json!({"KeyId": one, "Plaintext": "eA=="}), true),
        ("C_Encrypt", "GenerateDataKey", json!({"KeyId": one, "KeySpec": "AES_256"}), true),
        ("C_Decrypt", "Decrypt", json!({"CiphertextBlob": blob}), false),
    ] {
        cold(&rig, &other);
        let rule = rig.faults().rule(flips(function).once());
        let answer = rig.call(operation, &body);
        assert_eq!((rig.faults().hits(rule), answer.status), (1, 200), "{operation}: {}", answer.body);
        let expected = if operation == "GenerateDataKey" { answer.body["Plaintext"].clone() } else { json!("eA==") };
        let plaintext =
            if sealed { decrypted(&rig, &answer.body["CiphertextBlob"]) } else { answer.body["Plaintext"].clone() };
        assert_eq!(plaintext, expected, "{operation}");
    }
    assert_eq!(rig.faults().complaints(), Vec::<String>::new());
}

#[test]
fn an_hsm_that_goes_on_giving_wrong_answers_gives_none() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let [one, other] = [key(&rig, &json!({})), key(&rig, &json!({}))];
    let blob = encrypt(&rig, &one).body["CiphertextBlob"].clone();
    // Of each proof of a decryption the first half: two that are wrong in the same way cannot be told from right ones.
    let each_first = [1, 3, 5, 7].map(|nth| flips("C_Decrypt").nth(nth).once()).to_vec();
    for (operation, wrong, body) in [
        ("Encrypt", vec![flips("C_Encrypt")], json!({"KeyId": one, "Plaintext": "eA=="})),
        ("Decrypt", each_first, json!({"CiphertextBlob": blob})),
    ] {
        cold(&rig, &other);
        for rule in wrong {
            rig.faults().rule(rule);
        }
        let answers: Vec<Answer> = (0..3).map(|_| rig.call(operation, &body)).collect();
        rig.faults().clear();
        for answer in answers {
            let is_right = answer.status == 200 && answer.body["Plaintext"] == "eA==";
            assert!(is_right || answer.code() == "DependencyTimeoutException", "{operation}: {}", answer.body);
        }
        assert!(rig.recovers("Encrypt", &json!({"KeyId": one, "Plaintext": "eA=="}), Duration::from_secs(2)).is_some());
    }
}

#[test]
fn a_fault_that_begins_while_a_key_is_in_use_is_seen_before_long() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let key = key(&rig, &json!({}));
    assert_eq!(encrypt(&rig, &key).status, 200);
    rig.faults().rule(flips("C_Encrypt"));
    let given = (0..=PROVED).take_while(|_| encrypt(&rig, &key).status == 200).count();
    println!("{given} wrong answers were given before one was proved");
    assert!(given < PROVED, "{given}");
    // From then on none is: each is proved until one is right.
    assert!((0..20).all(|_| encrypt(&rig, &key).code() == "DependencyTimeoutException"));
    rig.faults().clear();
    assert!(rig.recovers("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}), Duration::from_secs(2)).is_some());
}

/// Whichever output is wrong while a key is made: a key that was acknowledged works.
#[test]
fn no_key_is_acknowledged_that_does_not_work() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let other = key(&rig, &json!({}));
    for (spec, algorithm) in [("SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"), ("RSA_2048", "RSAES_OAEP_SHA_1")] {
        let body = json!({"KeySpec": spec, "KeyUsage": "ENCRYPT_DECRYPT"});
        let (mut acknowledged, mut refused) = (0, 0);
        for function in ["C_GenerateRandom", "C_GetAttributeValue", "C_WrapKey", "C_Encrypt", "C_Decrypt"] {
            for nth in 1..=4 {
                let rule = rig.faults().rule(flips(function).nth(nth).once());
                let made = rig.call("CreateKey", &body);
                let struck = rig.faults().hits(rule) > 0;
                rig.faults().clear();
                if made.status != 200 {
                    assert_eq!(made.code(), "DependencyTimeoutException", "{}", made.body);
                    refused += 1;
                    assert!(rig.recovers("CreateKey", &json!({}), Duration::from_secs(2)).is_some());
                } else if struck {
                    acknowledged += 1;
                    cold(&rig, &other);
                    works(&rig, &made.body["KeyMetadata"]["KeyId"], algorithm);
                }
            }
        }
        println!("{spec}: {acknowledged} keys acknowledged, {refused} refused");
        assert!(acknowledged + refused >= 4, "the faults did not come to act");
    }
}

/// Whichever output is wrong while a pair is made and goes out: the halves of a pair that is given fit.
#[test]
fn no_data_key_pair_is_given_whose_halves_do_not_fit() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let key = key(&rig, &json!({}));
    let (mut given, mut withheld) = (0, 0);
    for function in ["C_GenerateRandom", "C_GetAttributeValue", "C_Sign", "C_WrapKey", "C_Encrypt"] {
        for nth in 1..=2 {
            let rule = rig.faults().rule(flips(function).nth(nth).once());
            let made = rig.call("GenerateDataKeyPair", &json!({"KeyId": key, "KeyPairSpec": "RSA_2048"}));
            let struck = rig.faults().hits(rule) > 0;
            rig.faults().clear();
            if made.status != 200 {
                assert_eq!(made.code(), "DependencyTimeoutException", "{}", made.body);
                withheld += 1;
                assert!(rig.recovers("CreateKey", &json!({}), Duration::from_secs(2)).is_some());
            } else if struck {
                given += 1;
                assert!(halves_fit(&made.body), "{function} {nth}");
            }
        }
    }
    println!("{given} pairs given, {withheld} withheld");
    assert!(given + withheld >= 3, "the faults did not come to act");
}

/// Whether the public key of an RSA pair is that of its private key.
fn halves_fit(pair: &Value) -> bool {
    let der = |member: &str| STANDARD.decode(pair[member].as_str().unwrap()).unwrap();
    let (private, public) = (der("PrivateKeyPlaintext"), der("PublicKey"));
    let private = ring::signature::RsaKeyPair::from_pkcs8(&private).unwrap();
    let public = spki::SubjectPublicKeyInfoRef::try_from(&public[..]).unwrap();
    private.public().as_ref() == public.subject_public_key.raw_bytes()
}

/// A MAC that the HSM makes wrongly once is not given the first time, and nobody's MAC is wrong because of it.
#[test]
fn no_mac_is_blamed_for_one_wrong_answer() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options::default());
    let key = key(&rig, &json!({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}));
    let request = json!({"KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"});
    let first = rig.faults().rule(flips("C_Sign").once());
    let mac = rig.ok("GenerateMac", &request)["Mac"].clone();
    assert_eq!(mac, rig.ok("GenerateMac", &request)["Mac"]);
    let mut verify = request.clone();
    verify["Mac"] = mac;
    let second = rig.faults().rule(flips("C_Sign").once());
    assert_eq!(rig.ok("VerifyMac", &verify)["MacValid"], true);
    assert_eq!([first, second].map(|rule| rig.faults().hits(rule)), [1, 1]);
    verify["Message"] = json!("eQ==");
    assert_eq!(rig.call("VerifyMac", &verify).code(), "KMSInvalidMacException");
}

fn works(rig: &Rig, key: &Value, algorithm: &str) {
    let body = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionAlgorithm": algorithm});
    let blob = rig.ok("Encrypt", &body)["CiphertextBlob"].clone();
    let body = json!({"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm});
    assert_eq!(rig.ok("Decrypt", &body)["Plaintext"], "eA==");
}
