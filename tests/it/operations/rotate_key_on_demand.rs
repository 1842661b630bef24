//! RotateKeyOnDemand: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html>.

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::{
    clock::days,
    key::spec::{KeySpec, KeyUsage},
};

use super::{About, KEY, Names, Subject, import_key_material::{external, parcel}, must};
use crate::world::{Keeping, START, World, base64, text};

pub const SUBJECT: Subject = Subject {
    name: "RotateKeyOnDemand",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: [0, 1, 3, 3, 5, 0, 14, 15],
};

async fn describe(world: &World, key: &str) -> Value {
    world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone()
}

/// Imports a material; answers its id.
async fn import(world: &World, key: &str, byte: u8, members: Value) -> String {
    let (blob, token) = parcel(world, key, &[byte; 32]).await;
    let request = crate::world::with(super::import_key_material::request(key, &token, &blob), members);
    text(&world.ok("ImportKeyMaterial", request).await, "KeyMaterialId")
}

#[tokio::test]
async fn the_key_has_other_material_at_once_and_the_old_opens_what_it_sealed() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = world.key().await;
        let before = text(&describe(&world, &key).await, "CurrentKeyMaterialId");
        let blob = world.encrypt(&key, b"x").await;
        world.check("RotateKeyOnDemand", json!({"KeyId": key}), expect![[r#"
            {
              "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1"
            }"#]]).await;
        assert_ne!(describe(&world, &key).await["CurrentKeyMaterialId"], before);
        assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["KeyMaterialId"], before);
        let moved = world.ok("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key})).await;
        assert_eq!(moved["SourceKeyMaterialId"], before);
        assert_ne!(moved["DestinationKeyMaterialId"], before);
        let world = world.reopened().await;
        assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["Plaintext"], base64(b"x"));
    }
}

#[tokio::test]
async fn twenty_five_times_and_the_date_of_the_automatic_one_stays() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("EnableKeyRotation", json!({"KeyId": key})).await;
    for _ in 0..25 {
        world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    }
    let message = format!(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed \
         for this key: {}",
        world.arn_of(&key)
    );
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "LimitExceededException", &message).await;
    let status = world.ok("GetKeyRotationStatus", json!({"KeyId": key})).await;
    assert_eq!(status["NextRotationDate"], START.plus(days(365)).epoch_seconds());
    world.clock.advance(days(365));
    world.work().await;
    let rotations = world.ok("ListKeyRotations", json!({"KeyId": key})).await["Rotations"].clone();
    assert_eq!((rotations.as_array().unwrap().len(), &rotations[25]["RotationType"]), (26, &json!("AUTOMATIC")));
}

#[tokio::test]
async fn not_near_to_an_automatic_one() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await;
    world.clock.advance(days(90) - Duration::from_secs(20 * 60));
    let message = format!("An automatic rotation of {} is under way or due in less than 20 minutes.", world.arn_of(&key));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "ConflictException", &message).await;
}

#[tokio::test]
async fn only_symmetric_keys() {
    let world = World::new().await;
    let rsa = world.rsa().await;
    world.refuse("RotateKeyOnDemand", json!({"KeyId": rsa}), "UnsupportedOperationException", "").await;
    world.ok("DisableKey", json!({"KeyId": rsa})).await;
    let disabled = format!("{} is disabled.", world.arn_of(&rsa));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": rsa}), "DisabledException", &disabled).await;
}

#[tokio::test]
async fn imported_keys_go_on_to_the_material_that_waits() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let pending_import = format!("{} is pending import.", world.arn_of(&key));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "KMSInvalidStateException", &pending_import).await;
    let first = import(&world, &key, 1, json!({})).await;
    let blob = world.encrypt(&key, b"x").await;
    let nothing = format!("No available key material pending rotation for the key: {}.", world.arn_of(&key));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "KMSInvalidStateException", &nothing).await;

    let second = import(&world, &key, 2, json!({"ImportType": "NEW_KEY_MATERIAL"})).await;
    assert_eq!(describe(&world, &key).await["CurrentKeyMaterialId"], first, "it waits");
    world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    assert_eq!(describe(&world, &key).await["CurrentKeyMaterialId"], second);
    assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["KeyMaterialId"], first);

    // Without the old material the key is of no use, until it comes again.
    world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key, "KeyMaterialId": first})).await;
    world.refuse("Decrypt", json!({"CiphertextBlob": blob}), "KMSInvalidStateException", &pending_import).await;
    assert_eq!(import(&world, &key, 1, json!({})).await, first);
    assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["Plaintext"], base64(b"x"));
}

#[tokio::test]
async fn material_near_its_limit_gets_a_successor_by_itself() {
    let world = World::new().await;
    let key = world.key().await;
    let before = text(&describe(&world, &key).await, "CurrentKeyMaterialId");
    let blob = world.encrypt(&key, b"x").await;
    world.work().await;
    assert_eq!(describe(&world, &key).await["CurrentKeyMaterialId"], before);
    world.reserve(&key, 1 << 31).await;
    // A service that has just started reserves its next block.
    let world = world.reopened().await;
    world.encrypt(&key, b"x").await;
    world.work().await;
    assert_ne!(describe(&world, &key).await["CurrentKeyMaterialId"], before);
    assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["KeyMaterialId"], before);
    let rotations = world.ok("ListKeyRotations", json!({"KeyId": key})).await["Rotations"].clone();
    assert_eq!((rotations.as_array().unwrap().len(), &rotations[0]["RotationType"]), (1, &json!("AUTOMATIC")));
}
