//! GetPublicKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::json;
use spki::{SubjectPublicKeyInfoRef, der::Decode};
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{About, GRANT_TOKENS, KEY, Names, Subject, USE, may, must};
use crate::world::{Keeping, World, text};

pub const SUBJECT: Subject = Subject {
    name: "GetPublicKey",
    members: &[must("KeyId", KEY), may("GrantTokens", GRANT_TOKENS)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Rsa,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let request = json!({"KeyId": world.rsa().await});
    world.check("GetPublicKey", request, expect![[r#"
        {
          "CustomerMasterKeySpec": "RSA_2048",
          "EncryptionAlgorithms": [
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256"
          ],
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeySpec": "RSA_2048",
          "KeyUsage": "ENCRYPT_DECRYPT",
          "PublicKey": "294 bytes"
        }"#]]).await;
}

#[tokio::test]
async fn it_is_a_subject_public_key_info() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let made = world.ok("CreateKey", json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})).await;
        let answer = world.ok("GetPublicKey", json!({"KeyId": made["KeyMetadata"]["Arn"]})).await;
        let der = STANDARD.decode(text(&answer, "PublicKey")).unwrap();
        let info = SubjectPublicKeyInfoRef::from_der(&der).unwrap();
        assert_eq!(info.algorithm.oid.to_string(), "1.2.840.113549.1.1.1");
    }
}

#[tokio::test]
async fn a_key_without_a_public_half_has_none() {
    let world = World::new().await;
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    for key in [world.key().await, mac] {
        world.refuse("GetPublicKey", json!({"KeyId": key}), "UnsupportedOperationException", "").await;
    }
}

#[tokio::test]
async fn state_comes_before_spec() {
    let world = World::new().await;
    let key = world.key().await;
    world.set_state(&key, KeyState::Disabled).await;
    assert_eq!(world.call("GetPublicKey", json!({"KeyId": key})).await.code(), "DisabledException");
}
