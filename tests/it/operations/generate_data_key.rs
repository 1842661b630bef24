//! GenerateDataKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>.

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::{
    attester::{Attester, Laptop},
    world::{Keeping, World, blob_of, with},
};

pub const SUBJECT: Subject = Subject {
    name: "GenerateDataKey",
    members: &[
        must("KeyId", KEY),
        may("EncryptionContext", Kind::Context),
        may("NumberOfBytes", Kind::Int(1, 1024)),
        may("KeySpec", Kind::Word(&["AES_256", "AES_128"])),
        may("GrantTokens", GRANT_TOKENS),
        may("Recipient", Kind::Structure),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "KeySpec": "AES_256", "NumberOfBytes": null}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

/// How the length of a data key may and may not be said.
pub async fn lengths_are_said_once(operation: &str, blob_bytes: fn(&Value) -> usize) {
    let world = World::new().await;
    let key = world.key().await;
    for (length, bytes) in [
        (json!({"KeySpec": "AES_128"}), 16),
        (json!({"KeySpec": "AES_256"}), 32),
        (json!({"NumberOfBytes": 1}), 1),
        (json!({"NumberOfBytes": 1024}), 1024),
        (json!({"NumberOfBytes": 33.9}), 33),
        (json!({"NumberOfBytes": 64, "KeySpec": null}), 64),
    ] {
        let answer = world.ok(operation, with(json!({"KeyId": key}), length)).await;
        assert_eq!(blob_bytes(&answer), bytes + 79);
    }
    let either = "Please specify either number of bytes or key spec.";
    for length in [json!({}), json!({"KeySpec": "AES_128", "NumberOfBytes": 16})] {
        world.refuse(operation, with(json!({"KeyId": key}), length), "ValidationException", either).await;
    }
}

/// Only a symmetric key that encrypts makes data keys.
pub async fn only_symmetric_keys_make_data_keys(operation: &str) {
    let world = World::new().await;
    let rsa = json!({"KeyId": world.rsa().await, "KeySpec": "AES_256"});
    let message = "You cannot generate a data key with an asymmetric CMK";
    world.refuse(operation, rsa, "InvalidKeyUsageException", message).await;
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let message =
        format!("{} key usage is GENERATE_VERIFY_MAC which is not valid for {operation}.", world.arn_of(&mac));
    let request = json!({"KeyId": mac, "KeySpec": "AES_256"});
    world.refuse(operation, request, "InvalidKeyUsageException", &message).await;
}

pub fn decoded(answer: &Value, member: &str) -> usize {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, answer[member].as_str().unwrap()).unwrap().len()
}

#[tokio::test]
async fn the_blob_opens_to_the_plaintext() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let context = json!({"a": "b"});
        let request = json!({"KeyId": world.key().await, "KeySpec": "AES_256", "EncryptionContext": context});
        let made = world.ok("GenerateDataKey", request).await;
        let request = json!({"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": context});
        let opened = world.ok("Decrypt", request).await;
        assert_eq!(opened["Plaintext"], made["Plaintext"]);
        assert_eq!(opened["KeyMaterialId"], made["KeyMaterialId"]);
    }
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeySpec": "AES_128"});
    world.check("GenerateDataKey", request, expect![[r#"
        {
          "CiphertextBlob": "95 bytes",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyMaterialId": "MATERIAL",
          "Plaintext": "16 bytes"
        }"#]]).await;
}

#[tokio::test]
async fn lengths() {
    lengths_are_said_once("GenerateDataKey", |answer| {
        assert_eq!(decoded(answer, "Plaintext") + 79, decoded(answer, "CiphertextBlob"));
        decoded(answer, "CiphertextBlob")
    })
    .await;
}

#[tokio::test]
async fn other_keys() {
    only_symmetric_keys_make_data_keys("GenerateDataKey").await;
}

#[tokio::test]
async fn no_data_key_comes_twice() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeySpec": "AES_256"});
    let one = world.ok("GenerateDataKey", request.clone()).await;
    let other = world.ok("GenerateDataKey", request).await;
    assert_ne!(one["Plaintext"], other["Plaintext"]);
}

#[tokio::test]
async fn the_length_is_asked_for_before_the_key() {
    let world = World::new().await;
    assert_eq!(world.call("GenerateDataKey", json!({"KeyId": "x"})).await.code(), "ValidationException");
}

#[tokio::test]
async fn a_recipient_is_refused() {
    let world = World::new().await;
    let recipient = json!({"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "AAAA"});
    let request = json!({"KeyId": world.key().await, "KeySpec": "AES_256", "Recipient": recipient});
    assert_eq!(world.call("GenerateDataKey", request).await.code(), "ValidationException");
}

#[tokio::test]
async fn a_recipient_gets_the_data_key_and_the_caller_only_its_ciphertext() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let request = json!({"KeyId": world.key().await, "KeySpec": "AES_256", "Recipient": attester.recipient()});
    let answer = world.ok("GenerateDataKey", request.clone()).await;
    let members: Vec<_> = answer.as_object().unwrap().keys().collect();
    assert_eq!(members, ["CiphertextBlob", "CiphertextForRecipient", "KeyId"]);
    let data_key = Laptop::get().open(&blob_of(&answer, "CiphertextForRecipient"));
    let opened = world.ok("Decrypt", json!({"CiphertextBlob": answer["CiphertextBlob"]})).await;
    assert_eq!(blob_of(&opened, "Plaintext"), data_key);
    let dry = with(request.clone(), json!({"DryRun": true}));
    assert_eq!(world.call("GenerateDataKey", dry).await.code(), "DryRunOperationException");
    let other = with(request, json!({"DryRun": true, "Recipient": Attester::new().recipient()}));
    assert_eq!(world.call("GenerateDataKey", other).await.code(), "ValidationException");
}

#[tokio::test]
async fn state_comes_before_usage() {
    let world = World::new().await;
    let key = world.rsa().await;
    world.set_state(&key, KeyState::Disabled).await;
    let request = json!({"KeyId": key, "KeySpec": "AES_256"});
    assert_eq!(world.call("GenerateDataKey", request).await.code(), "DisabledException");
}
