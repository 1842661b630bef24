//! GetKeyRotationStatus: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html>.

use expect_test::expect;
use serde_json::json;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{ANY_STATE, About, KEY, Names, Subject, import_key_material::external, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "GetKeyRotationStatus",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

#[tokio::test]
async fn off_and_on() {
    let world = World::new().await;
    let key = world.key().await;
    world.check("GetKeyRotationStatus", json!({"KeyId": key}), expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyRotationEnabled": false
        }"#]]).await;
    world.ok("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 100})).await;
    world.check("GetKeyRotationStatus", json!({"KeyId": key}), expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyRotationEnabled": true,
          "NextRotationDate": 1775865600.0,
          "RotationPeriodInDays": 100
        }"#]]).await;
}

#[tokio::test]
async fn off_while_the_key_waits_for_its_deletion() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("EnableKeyRotation", key.clone()).await;
    for (operation, enabled) in [("ScheduleKeyDeletion", false), ("CancelKeyDeletion", true)] {
        world.ok(operation, key.clone()).await;
        assert_eq!(world.ok("GetKeyRotationStatus", key.clone()).await["KeyRotationEnabled"], enabled, "{operation}");
    }
}

/// Terraform reads it of every key whose material is made here.
#[tokio::test]
async fn keys_that_cannot_rotate_do_not() {
    let world = World::new().await;
    for key in [world.rsa().await, world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await] {
        let status = world.ok("GetKeyRotationStatus", json!({"KeyId": key})).await;
        assert_eq!(status, json!({"KeyId": world.arn_of(&key), "KeyRotationEnabled": false}));
    }
    let imported = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let origin = format!("{} origin is EXTERNAL which is not valid for this operation.", world.arn_of(&imported));
    world.refuse("GetKeyRotationStatus", json!({"KeyId": imported}), "UnsupportedOperationException", &origin).await;
}
