//! Imported material is of no use from its ValidTo on, by the date alone: whatever is still to be destroyed, whatever the clock
//! is believed to be, whether the service ran meanwhile or not.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom::{
    clock::{Clock, Timestamp},
    key::{
        Key,
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
    },
};

use crate::{
    operations::import_key_material::{external, parcel, request},
    world::{Keeping, REGION, World, base64, text, with},
};

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: i64 = 3_600_000;
const MATERIAL: [u8; 32] = [7; 32];

/// Imports material that expires, or does not.
async fn import(world: &World, key: &str, material: &[u8], valid_to: Option<Timestamp>, more: Value) {
    let (blob, token) = parcel(world, key, material).await;
    let expires =
        valid_to.map(|date| json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": date.epoch_seconds()}));
    let import = with(with(request(key, &token, &blob), expires.unwrap_or(json!({}))), more);
    world.ok("ImportKeyMaterial", import).await;
}

/// A symmetric key whose material expires in an hour.
async fn expiring(world: &World) -> String {
    let key = external(world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    import(world, &key, &MATERIAL, Some(world.clock.now().plus(HOUR)), json!({})).await;
    key
}

async fn described(world: &World, key: &str) -> Value {
    world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone()
}

fn stored(world: &World, key: &str) -> Key {
    world.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap().key.clone()
}

async fn is_pending_import(world: &World, key: &str, operation: &str, request: Value) {
    let message = format!("{} is pending import.", world.arn_of(key));
    world.refuse(operation, request, "KMSInvalidStateException", &message).await;
}

/// Encrypts and decrypts, or does neither.
async fn works(world: &World, key: &str, blob: &str) -> bool {
    let both = [
        world.call("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await,
        world.call("Decrypt", json!({"CiphertextBlob": blob})).await,
    ];
    assert_eq!(both[0].status, both[1].status);
    both[0].status == 200
}

#[tokio::test]
async fn the_date_alone_ends_the_use_and_nothing_is_destroyed_by_it() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = expiring(&world).await;
        let blob = world.encrypt(&key, b"x").await;
        // No time has run, and the clock is in doubt.
        world.clock.jump(2 * HOUR_MS);
        world.work().await;
        assert!(world.kms.warning().is_some());
        is_pending_import(&world, &key, "Decrypt", json!({"CiphertextBlob": blob})).await;
        is_pending_import(&world, &key, "EnableKey", json!({"KeyId": key})).await;
        let shown = described(&world, &key).await;
        assert_eq!((&shown["KeyState"], &shown["Enabled"]), (&json!("PendingImport"), &json!(false)));
        assert!(shown.get("ValidTo").is_none() && shown.get("ExpirationModel").is_none(), "{shown}");
        let rotations = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
        let listed = world.ok("ListKeyRotations", rotations).await["Rotations"][0].clone();
        assert_eq!((&listed["ImportState"], listed.get("ValidTo")), (&json!("PENDING_IMPORT"), None));
        assert_eq!(stored(&world, &key).materials().len(), 1);
        // The clock was wrong: nothing is lost.
        world.clock.jump(-2 * HOUR_MS);
        assert!(works(&world, &key, &blob).await);
    }
}

#[tokio::test]
async fn a_service_that_was_down_does_not_use_what_expired_meanwhile() {
    let world = World::new().await;
    let key = expiring(&world).await;
    let blob = world.encrypt(&key, b"x").await;
    world.clock.jump(HOUR_MS - 1);
    let world = world.reopened().await;
    assert!(works(&world, &key, &blob).await, "a millisecond is left");
    world.clock.jump(1);
    assert!(!works(&world, &key, &blob).await);
}

#[tokio::test]
async fn other_kinds_of_keys_expire_too() {
    let world = World::new().await;
    let mac = external(&world, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    import(&world, &mac, &MATERIAL, Some(world.clock.now().plus(HOUR)), json!({})).await;
    let made = json!({"KeyId": mac, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"});
    let verify = with(made.clone(), json!({"Mac": world.ok("GenerateMac", made.clone()).await["Mac"]}));
    world.clock.jump(HOUR_MS);
    is_pending_import(&world, &mac, "GenerateMac", made).await;
    is_pending_import(&world, &mac, "VerifyMac", verify).await;
}

/// A key of two materials: the first, under which `blob` was made, expires in an hour, the current one does not.
async fn of_two(world: &World) -> (String, String) {
    let key = expiring(world).await;
    let blob = world.encrypt(&key, b"x").await;
    import(world, &key, &[8; 32], None, json!({"ImportType": "NEW_KEY_MATERIAL"})).await;
    world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    (key, blob)
}

#[tokio::test]
async fn one_material_that_is_over_ends_the_use_of_all() {
    let world = World::new().await;
    let (key, blob) = of_two(&world).await;
    let newer = world.encrypt(&key, b"x").await;
    world.clock.jump(HOUR_MS);
    for blob in [&blob, &newer] {
        assert!(!works(&world, &key, blob).await);
    }
    import(&world, &key, &MATERIAL, None, json!({})).await;
    for blob in [&blob, &newer] {
        assert!(works(&world, &key, blob).await);
    }
}

#[tokio::test]
async fn what_waits_for_rotation_and_is_over_is_not_rotated_to() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    import(&world, &key, &MATERIAL, None, json!({})).await;
    let new = json!({"ImportType": "NEW_KEY_MATERIAL"});
    import(&world, &key, &[8; 32], Some(world.clock.now().plus(HOUR)), new).await;
    let blob = world.encrypt(&key, b"x").await;
    world.clock.jump(HOUR_MS);
    assert!(works(&world, &key, &blob).await, "it was never the key's for good");
    let none = format!("No available key material pending rotation for the key: {}.", world.arn_of(&key));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "KMSInvalidStateException", &none).await;
}

#[tokio::test]
async fn material_comes_again_before_what_was_is_destroyed() {
    for (keeping, disabled) in [(Keeping::Wrapped, false), (Keeping::Token, false), (Keeping::Wrapped, true)] {
        let world = World::build().keeping(keeping).open().await;
        let key = expiring(&world).await;
        let blob = world.encrypt(&key, b"x").await;
        if disabled {
            world.ok("DisableKey", json!({"KeyId": key})).await;
        }
        world.clock.advance(HOUR);
        assert!(!works(&world, &key, &blob).await);
        import(&world, &key, &MATERIAL, Some(world.clock.now().plus(HOUR)), json!({})).await;
        assert!(works(&world, &key, &blob).await);
        for _ in 0..2 {
            world.work().await;
        }
        assert!(works(&world, &key, &blob).await, "what is due no more is not destroyed");
        assert_eq!(text(&described(&world, &key).await, "KeyState"), "Enabled");
    }
}

#[tokio::test]
async fn who_deletes_what_is_over_has_it_destroyed_at_once() {
    let world = World::new().await;
    let key = expiring(&world).await;
    world.clock.jump(HOUR_MS);
    world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await;
    assert_eq!(stored(&world, &key).materials().len(), 0);
}

#[tokio::test]
async fn a_deletion_that_is_taken_back_leaves_a_key_without_its_material() {
    let world = World::new().await;
    let key = expiring(&world).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    world.clock.jump(HOUR_MS);
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    assert_eq!(described(&world, &key).await["KeyState"], "PendingImport");
    is_pending_import(&world, &key, "Encrypt", json!({"KeyId": key, "Plaintext": base64(b"x")})).await;
}
