//! DescribeKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>.

use expect_test::expect;
use serde_json::json;
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ANY_STATE, About, GRANT_TOKENS, KEY, Names, Subject, must, may};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "DescribeKey",
    members: &[must("KeyId", KEY), may("GrantTokens", GRANT_TOKENS)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: ANY_STATE,
};

#[tokio::test]
async fn a_symmetric_key() {
    let world = World::new().await;
    let key = world.key().await;
    world.check("DescribeKey", json!({"KeyId": key}), expect![[r#"
        {
          "KeyMetadata": {
            "AWSAccountId": "111122223333",
            "Arn": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
            "CreationDate": 1767225600.0,
            "CurrentKeyMaterialId": "MATERIAL",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "Description": "",
            "Enabled": true,
            "EncryptionAlgorithms": [
              "SYMMETRIC_DEFAULT"
            ],
            "KeyId": "KEY1",
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": "Enabled",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS"
          }
        }"#]]).await;
}

#[tokio::test]
async fn an_rsa_key() {
    let world = World::new().await;
    let key = world.rsa().await;
    world.check("DescribeKey", json!({"KeyId": key}), expect![[r#"
        {
          "KeyMetadata": {
            "AWSAccountId": "111122223333",
            "Arn": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
            "CreationDate": 1767225600.0,
            "CustomerMasterKeySpec": "RSA_2048",
            "Description": "",
            "Enabled": true,
            "EncryptionAlgorithms": [
              "RSAES_OAEP_SHA_1",
              "RSAES_OAEP_SHA_256"
            ],
            "KeyId": "KEY1",
            "KeyManager": "CUSTOMER",
            "KeySpec": "RSA_2048",
            "KeyState": "Enabled",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS"
          }
        }"#]]).await;
}

#[tokio::test]
async fn a_key_that_is_pending_deletion() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    world.check("DescribeKey", json!({"KeyId": key}), expect![[r#"
        {
          "KeyMetadata": {
            "AWSAccountId": "111122223333",
            "Arn": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
            "CreationDate": 1767225600.0,
            "CurrentKeyMaterialId": "MATERIAL",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "DeletionDate": 1767830400.0,
            "Description": "",
            "Enabled": false,
            "EncryptionAlgorithms": [
              "SYMMETRIC_DEFAULT"
            ],
            "KeyId": "KEY1",
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": "PendingDeletion",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS"
          }
        }"#]]).await;
}

#[tokio::test]
async fn it_says_what_create_key_said() {
    let world = World::new().await;
    for request in [json!({}), json!({"MultiRegion": true, "Description": "d"})] {
        let made = world.ok("CreateKey", request).await;
        assert_eq!(world.ok("DescribeKey", json!({"KeyId": made["KeyMetadata"]["Arn"]})).await, made);
    }
}

#[tokio::test]
async fn only_an_enabled_key_is_enabled() {
    let world = World::new().await;
    let key = world.key().await;
    for state in KeyState::ALL {
        world.set_state(&key, *state).await;
        let metadata = &world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"];
        assert_eq!(metadata["KeyState"], state.as_str());
        assert_eq!(metadata["Enabled"], *state == KeyState::Enabled);
    }
}

#[tokio::test]
async fn a_key_that_signs_has_no_encryption_algorithms() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let metadata = &world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"];
    assert!(metadata.get("EncryptionAlgorithms").is_none());
}
