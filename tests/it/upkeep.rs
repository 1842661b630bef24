//! What time does: keys that are due are deleted, and what was counted stays counted over a restart.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use strongroom::{
    clock::days,
    key::{material::Keeping as Kept, reference::KeyId},
};

use crate::world::{Keeping, REGION, World, base64};

const BOTH: [Keeping; 2] = [Keeping::Wrapped, Keeping::Token];
/// Invocations that are reserved at a time.
const BLOCK: u64 = 1 << 16;

/// A world with a key that is due in seven days, has an alias, and once encrypted.
async fn doomed(keeping: Keeping) -> (World, String, String) {
    let world = World::with(keeping).await;
    let key = world.key().await;
    world.alias("alias/doomed", &key).await;
    let blob = world.encrypt(&key, b"x").await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    (world, key, blob)
}

#[tokio::test]
async fn a_key_is_not_deleted_before_its_date() {
    for keeping in BOTH {
        let (world, key, blob) = doomed(keeping).await;
        world.clock.advance(days(7) - Duration::from_millis(1));
        world.work().await;
        world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
        world.ok("EnableKey", json!({"KeyId": key})).await;
        world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    }
}

#[tokio::test]
async fn a_key_that_is_due_goes_with_its_aliases() {
    for keeping in BOTH {
        let (world, key, blob) = doomed(keeping).await;
        world.clock.advance(days(7));
        world.work().await;
        let gone = format!("Key '{}' does not exist", world.arn_of(&key));
        world.refuse("DescribeKey", json!({"KeyId": key}), "NotFoundException", &gone).await;
        let no_alias = format!("Alias {} is not found.", world.arn_of("alias/doomed"));
        world.refuse("DescribeKey", json!({"KeyId": "alias/doomed"}), "NotFoundException", &no_alias).await;
        assert_eq!(world.ok("ListAliases", json!({})).await["Aliases"], json!([]));
        assert_eq!(world.ok("ListKeys", json!({})).await["Keys"], json!([]));
        let nameless = world.call("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(nameless.code(), "AccessDeniedException");
        let named = json!({"CiphertextBlob": blob, "KeyId": key});
        world.refuse("Decrypt", named, "NotFoundException", &gone).await;
    }
}

#[tokio::test]
async fn other_keys_stay() {
    let (world, _, _) = doomed(Keeping::Wrapped).await;
    let other = world.key().await;
    let blob = world.encrypt(&other, b"x").await;
    world.clock.advance(days(30));
    world.work().await;
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_not_deleted() {
    let (world, key, _) = doomed(Keeping::Wrapped).await;
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    world.clock.advance(days(30));
    world.work().await;
    world.ok("DescribeKey", json!({"KeyId": key})).await;
}

#[tokio::test]
async fn an_object_on_the_hsm_is_destroyed_with_its_key() {
    let (world, key, _) = doomed(Keeping::Token).await;
    let entry = world.store.view().key(REGION, KeyId::parse(&key).unwrap()).unwrap();
    let material = Arc::clone(entry.key.current_material().unwrap());
    assert!(matches!(material.keeping, Kept::Token { .. }));
    assert!(world.hsm_has(&material).await);
    world.clock.advance(days(7));
    world.work().await;
    assert!(!world.hsm_has(&material).await);
}

#[tokio::test]
async fn deleted_keys_stay_deleted_after_a_restart_and_others_work() {
    for keeping in BOTH {
        let (world, key, _) = doomed(keeping).await;
        let other = world.key().await;
        let blob = world.encrypt(&other, b"at dawn").await;
        world.clock.advance(days(7));
        world.work().await;
        let world = world.reopened().await;
        assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(opened["Plaintext"], base64(b"at dawn"));
    }
}

#[tokio::test]
async fn the_work_may_be_done_again_and_again() {
    let (world, _, _) = doomed(Keeping::Token).await;
    world.clock.advance(days(7));
    for _ in 0..3 {
        world.work().await;
    }
}

#[tokio::test]
async fn invocations_are_counted_in_blocks_that_no_restart_gives_again() {
    let world = World::new().await;
    let key = world.key().await;
    for _ in 0..3 {
        world.encrypt(&key, b"x").await;
    }
    assert_eq!(world.reserved(&key).await, BLOCK);
    let world = world.reopened().await;
    world.encrypt(&key, b"x").await;
    assert_eq!(world.reserved(&key).await, 2 * BLOCK);
}

#[tokio::test]
async fn every_way_to_encrypt_counts_and_decrypting_does_not() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let requests: [(&str, fn(&str, &str) -> Value); 4] = [
        ("Encrypt", |key, _| json!({"KeyId": key, "Plaintext": "eA=="})),
        ("GenerateDataKey", |key, _| json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("GenerateDataKeyWithoutPlaintext", |key, _| json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("ReEncrypt", |key, blob| json!({"CiphertextBlob": blob, "DestinationKeyId": key})),
    ];
    for (operation, request) in requests {
        let key = world.key().await;
        let made = world.ok(operation, request(&key, &blob)).await;
        world.ok("Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]})).await;
        assert_eq!(world.reserved(&key).await, BLOCK, "{operation}");
    }
}

#[tokio::test]
async fn a_material_that_was_used_up_encrypts_no_more_and_still_decrypts() {
    let world = World::new().await;
    let key = world.key().await;
    let blob = world.encrypt(&key, b"x").await;
    world.reserve(&key, (1 << 32) - BLOCK).await;
    let world = world.reopened().await;
    let request = json!({"KeyId": key, "Plaintext": "eA=="});
    assert_eq!(world.call("Encrypt", request).await.code(), "KMSInvalidStateException");
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
}
