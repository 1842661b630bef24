//! A year in the life of some keys, a day at a time: rotations, an expiry, deletions, each on its day and on no other.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom::{
    clock::{Clock, Timestamp, days},
    key::spec::{KeySpec, KeyUsage},
};

use crate::{
    operations::import_key_material::{external, parcel, request},
    world::{Keeping, START, World, base64, text, with},
};

const PERIODS: [u64; 3] = [90, 120, 365];
const EXPIRES_ON: u64 = 100;
const RETURNS_ON: u64 = 110;
/// When deletions are asked for, and how long they wait.
const DELETIONS: [(u64, u64); 3] = [(10, 7), (50, 30), (200, 15)];

/// A key that is used every day.
struct Used {
    key: String,
    blobs: Vec<String>,
}

impl Used {
    async fn new(world: &World) -> Self {
        Self { key: world.key().await, blobs: Vec::new() }
    }

    async fn seal(&mut self, world: &World, day: u64) {
        self.blobs.push(world.encrypt(&self.key, day.to_string().as_bytes()).await);
    }
}

async fn state(world: &World, key: &str) -> String {
    let answer = world.call("DescribeKey", json!({"KeyId": key})).await;
    if answer.status == 200 { text(&answer.json()["KeyMetadata"], "KeyState") } else { answer.code() }
}

async fn rotations(world: &World, key: &str) -> Vec<Value> {
    world.ok("ListKeyRotations", json!({"KeyId": key})).await["Rotations"].as_array().unwrap().clone()
}

async fn import(world: &World, key: &str, valid_to: Timestamp) {
    let (blob, token) = parcel(world, key, &[5; 32]).await;
    let expires = json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": valid_to.epoch_seconds()});
    world.ok("ImportKeyMaterial", with(request(key, &token, &blob), expires)).await;
}

/// What each deleted key should be on a day.
fn expected(day: u64, (asked, window): (u64, u64)) -> &'static str {
    match day {
        day if day < asked => "Enabled",
        day if day < asked + window => "PendingDeletion",
        _ => "NotFoundException",
    }
}

#[tokio::test]
async fn a_year() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        year(World::build().keeping(keeping).open().await).await;
    }
}

async fn year(world: World) {
    let mut rotating = Vec::new();
    for period in PERIODS {
        let used = Used::new(&world).await;
        world.ok("EnableKeyRotation", json!({"KeyId": used.key, "RotationPeriodInDays": period})).await;
        rotating.push(used);
    }
    let doomed = [world.key().await, world.key().await, world.key().await];
    let expiring = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    import(&world, &expiring, START.plus(days(EXPIRES_ON))).await;
    let kept = world.encrypt(&expiring, b"kept").await;

    for day in 1..=365 {
        world.clock.advance(days(1) - Duration::from_secs(1));
        world.work().await;
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.clock.now(), START.plus(days(day)));
        for ((asked, window), key) in DELETIONS.into_iter().zip(&doomed) {
            if day == asked {
                world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": window})).await;
            }
            // A second before its day it is still there.
            let still = if day == asked + window { "PendingDeletion" } else { expected(day, (asked, window)) };
            assert_eq!(state(&world, key).await, still, "day {day}");
        }
        world.work().await;
        if day == RETURNS_ON {
            import(&world, &expiring, world.clock.now().plus(days(365))).await;
        }
        for (deletion, key) in DELETIONS.into_iter().zip(&doomed) {
            assert_eq!(state(&world, key).await, expected(day, deletion), "day {day}");
        }
        let there = if (EXPIRES_ON..RETURNS_ON).contains(&day) { "PendingImport" } else { "Enabled" };
        assert_eq!(state(&world, &expiring).await, there, "day {day}");
        for (period, used) in PERIODS.into_iter().zip(&mut rotating) {
            assert_eq!(rotations(&world, &used.key).await.len() as u64, day / period, "day {day}");
            used.seal(&world, day).await;
        }
    }

    for used in &rotating {
        for (day, blob) in (1..).zip(&used.blobs) {
            let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
            assert_eq!(opened["Plaintext"], base64(i32::to_string(&day).as_bytes()));
        }
    }
    assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": kept})).await["Plaintext"], base64(b"kept"));
    let first = rotations(&world, &rotating[0].key).await;
    assert_eq!(first[0]["RotationDate"], START.plus(days(90)).epoch_seconds());
}
