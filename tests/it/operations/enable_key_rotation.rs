//! EnableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html>.

use serde_json::{Value, json};
use strongroom::{
    clock::days,
    key::spec::{KeySpec, KeyUsage},
};

use super::{About, KEY, Kind, Names, States, Subject, import_key_material::external, may, must};
use crate::world::{START, World, text};

pub const ROTATION: States = [0, 1, 3, 3, 0, 0, 14, 0];

pub const SUBJECT: Subject = Subject {
    name: "EnableKeyRotation",
    members: &[must("KeyId", KEY), may("RotationPeriodInDays", Kind::Int(90, 2560))],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ROTATION,
};

async fn current(world: &World, key: &str) -> String {
    text(&world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"], "CurrentKeyMaterialId")
}

async fn status(world: &World, key: &str) -> Value {
    world.ok("GetKeyRotationStatus", json!({"KeyId": key})).await
}

#[tokio::test]
async fn material_comes_anew_each_period_and_the_old_opens_what_it_sealed() {
    let world = World::new().await;
    let key = world.key().await;
    let answer = world.call("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let (first, blob) = (current(&world, &key).await, world.encrypt(&key, b"of the first").await);
    let mut seen = vec![first.clone()];
    for rotations in 1..=8 {
        world.clock.advance(days(89));
        world.work().await;
        assert_eq!(current(&world, &key).await, *seen.last().unwrap(), "a day too early");
        world.clock.advance(days(1));
        world.work().await;
        let material = current(&world, &key).await;
        assert!(!seen.contains(&material));
        seen.push(material);
        let next = START.plus(days(90 * (rotations + 1))).epoch_seconds();
        assert_eq!(status(&world, &key).await["NextRotationDate"], next);
    }
    let events = world.audit().into_iter().filter(|record| record["eventName"] == "RotateKey");
    let details: Vec<Value> = events.map(|record| record["serviceEventDetails"].clone()).collect();
    assert_eq!(details.len(), 8);
    let both = (&details[1]["previousKeyMaterialId"], &details[1]["currentKeyMaterialId"]);
    assert_eq!((both, &details[1]["rotationType"]), ((&json!(seen[1]), &json!(seen[2])), &json!("AUTOMATIC")));
    let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    assert_eq!((&opened["KeyMaterialId"], &opened["Plaintext"]), (&json!(first), &json!("b2YgdGhlIGZpcnN0")));
    let sealed = world.ok("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).await;
    assert_eq!(sealed["KeyMaterialId"], *seen.last().unwrap());
}

#[tokio::test]
async fn another_period_goes_on_from_where_the_last_one_began() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("EnableKeyRotation", json!({"KeyId": key})).await;
    assert_eq!(status(&world, &key).await["NextRotationDate"], START.plus(days(365)).epoch_seconds());
    world.clock.advance(days(100));
    world.ok("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 180})).await;
    assert_eq!(status(&world, &key).await["NextRotationDate"], START.plus(days(180)).epoch_seconds());
}

#[tokio::test]
async fn a_disabled_key_is_rotated_when_it_is_enabled_again() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await;
    let first = current(&world, &key).await;
    world.ok("DisableKey", json!({"KeyId": key})).await;
    world.clock.advance(days(200));
    world.work().await;
    assert_eq!(current(&world, &key).await, first);
    world.ok("EnableKey", json!({"KeyId": key})).await;
    world.work().await;
    assert_ne!(current(&world, &key).await, first);
    let next = START.plus(days(290)).epoch_seconds();
    assert_eq!(status(&world, &key).await["NextRotationDate"], next, "one rotation, however late");
}

#[tokio::test]
async fn only_symmetric_keys_with_material_made_here_rotate_by_themselves() {
    let world = World::new().await;
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let imported = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let origin = format!("{} origin is EXTERNAL which is not valid for this operation.", world.arn_of(&imported));
    for operation in ["EnableKeyRotation", "DisableKeyRotation"] {
        for key in [&mac, &world.rsa().await] {
            world.refuse(operation, json!({"KeyId": key}), "UnsupportedOperationException", "").await;
        }
        world.refuse(operation, json!({"KeyId": imported}), "UnsupportedOperationException", &origin).await;
    }
}
