//! DescribeKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>.

use serde_json::json;
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ANY_STATE, About, GRANT_TOKENS, KEY, Names, Subject, must, may};
use crate::{
    structures::{key_metadata, rsa_key_metadata},
    world::World,
};

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
    world.check_only("DescribeKey", json!({"KeyId": key}), json!({"KeyMetadata": key_metadata(json!({}))})).await;
}

#[tokio::test]
async fn an_rsa_key() {
    let world = World::new().await;
    let key = world.rsa().await;
    world.check_only("DescribeKey", json!({"KeyId": key}), json!({"KeyMetadata": rsa_key_metadata()})).await;
}

#[tokio::test]
async fn a_key_that_is_pending_deletion() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    let pending = key_metadata(json!({
        "DeletionDate": 1_767_830_400.0,
        "Enabled": false,
        "KeyState": "PendingDeletion",
    }));
    world.check_only("DescribeKey", json!({"KeyId": key}), json!({"KeyMetadata": pending})).await;
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
