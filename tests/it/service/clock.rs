//! What a clock cannot do by jumping: have a key deleted or material expire early. And what it does: it stops them.

use std::time::Duration;

use serde_json::json;
use strongroom::{
    clock::{Clock, Running, days},
    identity::Asker,
    key::{
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        state::KeyState,
    },
    store::Intent,
};

use crate::{
    operations::import_key_material::{external, parcel},
    world::{Keeping, REGION, World, logged, with},
};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// From a second to ten years, about all that is decided by time.
const JUMPS: [i64; 19] = [
    SECOND,
    60 * SECOND,
    HOUR - 1,
    HOUR,
    HOUR + 1,
    2 * HOUR,
    DAY,
    6 * DAY,
    7 * DAY - 1,
    7 * DAY,
    7 * DAY + 1,
    8 * DAY,
    30 * DAY,
    31 * DAY,
    90 * DAY,
    YEAR - DAY,
    YEAR,
    YEAR + DAY,
    10 * YEAR,
];

/// A world with a key that is due in seven days, and another whose material is valid as long.
async fn waiting() -> (World, String, String) {
    let world = World::new().await;
    let doomed = world.key().await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": doomed, "PendingWindowInDays": 7})).await;
    let external = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let (blob, token) = parcel(&world, &external, &[7; 32]).await;
    let request = json!({"KeyId": external, "ImportToken": token, "EncryptedKeyMaterial": blob});
    let valid_to = world.clock.now().plus(days(7)).epoch_seconds();
    world.ok("ImportKeyMaterial", with(request, json!({"ValidTo": valid_to}))).await;
    (world, doomed, external)
}

/// The state of a key, or that it is gone.
async fn state(world: &World, key: &str) -> String {
    let answer = world.call("DescribeKey", json!({"KeyId": key})).await;
    match answer.status {
        200 => answer.json()["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned(),
        _ => answer.code(),
    }
}

/// What is answered of the one and stored of the other: its material is of no use by the date alone, and destroyed by both.
async fn states(world: &World, doomed: &str, external: &str) -> [String; 2] {
    world.work().await;
    let stored = world.store.view().key(REGION, KeyId::parse(external).unwrap()).unwrap();
    assert_eq!(stored.key.materials().is_empty(), stored.key.state() == KeyState::PendingImport);
    [state(world, doomed).await, stored.key.state().to_string()]
}

#[tokio::test]
async fn a_jump_hurries_nothing() {
    let [before, after] = [["PendingDeletion", "Enabled"], ["NotFoundException", "PendingImport"]];
    for jump in JUMPS.into_iter().chain(JUMPS.map(|jump| -jump)) {
        let (world, doomed, external) = waiting().await;
        world.clock.jump(jump);
        assert_eq!(states(&world, &doomed, &external).await, before, "{jump}: at once");
        assert_eq!(world.kms.warning().is_some(), jump.abs() > HOUR, "{jump}");
        world.admin.confirm_clock().await.unwrap();
        assert_eq!(states(&world, &doomed, &external).await, before, "{jump}: when it is confirmed");
        // Since the deployment began, less than a millisecond of seven days is left.
        world.clock.advance(days(7) - Duration::from_millis(1));
        assert_eq!(states(&world, &doomed, &external).await, before, "{jump}: when most has run");
        world.clock.advance(Duration::from_millis(1));
        if jump < 0 {
            assert_eq!(states(&world, &doomed, &external).await, before, "{jump}: by running time, before the date");
            world.clock.advance(Duration::from_millis(jump.unsigned_abs()));
        }
        assert_eq!(states(&world, &doomed, &external).await, after, "{jump}: when both agree");
    }
}

#[tokio::test]
async fn a_jump_there_and_back_hurries_nothing() {
    for jump in [HOUR, DAY, 8 * DAY, 10 * YEAR] {
        let (world, doomed, external) = waiting().await;
        for jump in [jump, -jump, -jump, jump] {
            world.clock.jump(jump);
            assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"], "{jump}");
        }
        world.admin.confirm_clock().await.unwrap();
        world.clock.advance(days(7));
        assert_eq!(states(&world, &doomed, &external).await, ["NotFoundException", "PendingImport"], "{jump}");
    }
}

#[tokio::test]
async fn a_clock_that_runs_fast_by_jumps_that_nobody_notices_hurries_nothing() {
    let (world, doomed, external) = waiting().await;
    for _ in 0..200 {
        world.clock.jump(HOUR);
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"]);
    }
    assert_eq!(world.kms.warning(), None);
}

#[tokio::test]
async fn a_jump_beyond_an_hour_stops_what_is_due_until_it_is_confirmed_also_over_a_restart() {
    let (world, doomed, external) = waiting().await;
    world.clock.jump(HOUR + 1);
    world.work().await;
    let told = "the clock has jumped from 2026-01-01T00:00:00Z to 2026-01-01T01:00:00Z: nothing is deleted, expires or rotates \
                until it is confirmed";
    assert_eq!(world.kms.warning().unwrap(), told);
    assert!(world.kms.metrics_text().contains("strongroom_clock_in_doubt 1\n"));
    assert!(logged("strongroom clock confirm"));

    world.clock.advance(days(30));
    assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"], "all is due, by both times");
    let world = world.reopened().await;
    assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"], "after a restart");
    assert_eq!(world.kms.warning().unwrap(), told);

    assert!(world.admin.confirm_clock().await.unwrap().is_some());
    assert_eq!(world.admin.confirm_clock().await.unwrap(), None, "there is nothing left to confirm");
    assert_eq!(states(&world, &doomed, &external).await, ["NotFoundException", "PendingImport"]);
    assert_eq!(world.kms.warning(), None);
    assert!(world.kms.metrics_text().contains("strongroom_clock_in_doubt 0\n"));
}

#[tokio::test]
async fn time_that_the_service_was_down_delays_and_is_no_jump() {
    let (world, doomed, external) = waiting().await;
    world.clock.advance(days(3));
    world.work().await;
    let world = world.reopened().await;
    // Nothing has counted the time of this process yet, so it is as if it were down.
    world.clock.advance(days(60));
    assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"]);
    assert_eq!(world.kms.warning(), None);
    world.clock.advance(days(4) - Duration::from_millis(1));
    assert_eq!(states(&world, &doomed, &external).await, ["PendingDeletion", "Enabled"]);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(states(&world, &doomed, &external).await, ["NotFoundException", "PendingImport"]);
}

#[tokio::test]
async fn a_date_that_is_back_after_a_restart_is_a_jump() {
    for (back, is_jump) in [(SECOND, false), (HOUR, false), (HOUR + 1, true), (10 * YEAR, true)] {
        let (world, ..) = waiting().await;
        world.work().await;
        let world = world.reopened().await;
        world.clock.jump(-back);
        world.work().await;
        assert_eq!(world.kms.warning().is_some(), is_jump, "{back}");
    }
}

#[tokio::test]
async fn a_deletion_that_was_taken_back_and_asked_for_again_waits_anew() {
    let (world, doomed, _) = waiting().await;
    world.clock.advance(days(6));
    world.work().await;
    world.ok("CancelKeyDeletion", json!({"KeyId": doomed})).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": doomed, "PendingWindowInDays": 7})).await;
    world.clock.jump(7 * DAY);
    world.work().await;
    world.admin.confirm_clock().await.unwrap();
    world.clock.advance(days(7) - Duration::from_millis(1));
    world.work().await;
    assert_eq!(state(&world, &doomed).await, "PendingDeletion");
    world.clock.advance(Duration::from_millis(1));
    world.work().await;
    assert_eq!(state(&world, &doomed).await, "NotFoundException");
}

#[tokio::test]
async fn a_deletion_from_before_running_time_was_counted_waits_for_seven_days_of_it() {
    let (world, doomed, _) = waiting().await;
    world.edit_key(&doomed, "/scheduled", json!(null)).await;
    world.clock.jump(8 * DAY);
    world.work().await;
    world.admin.confirm_clock().await.unwrap();
    world.clock.advance(days(7) - Duration::from_millis(1));
    world.work().await;
    assert_eq!(state(&world, &doomed).await, "PendingDeletion");
    world.clock.advance(Duration::from_millis(1));
    world.work().await;
    assert_eq!(state(&world, &doomed).await, "NotFoundException");
}

#[tokio::test]
async fn an_object_that_is_being_made_is_not_abandoned_because_the_clock_jumps() {
    let world = World::build().keeping(Keeping::Token).open().await;
    let key = KeyId::parse(&world.key().await).unwrap();
    let (cka_id, spec) = ([9; 16], KeySpec::SymmetricDefault);
    let intent = Intent { region: REGION.to_owned(), key, spec, cka_id, key_store: None, made: Running::default() };
    world.store.intend(Asker::SERVICE, &intent).await.unwrap();
    let intents = || async { world.store.intents_before(Running::from_ms(u64::MAX)).await.unwrap() };
    for jump in [HOUR, -2 * HOUR, 10 * YEAR] {
        world.clock.jump(jump);
        world.work().await;
        assert_eq!(intents().await, std::slice::from_ref(&intent), "{jump}");
    }
    world.clock.advance(Duration::from_secs(10 * 60 + 1));
    world.work().await;
    assert_eq!(intents().await, []);
}

#[tokio::test]
async fn an_intent_whose_object_a_key_names_costs_no_object() {
    let world = World::build().keeping(Keeping::Token).open().await;
    let key = world.key().await;
    let material = world.material_of(&key);
    let strongroom::key::material::Keeping::Token { cka_id, .. } = &material.keeping else { panic!("an object") };
    let cka_id = cka_id.as_slice().try_into().unwrap();
    let (key, spec) = (KeyId::parse(&key).unwrap(), material.spec);
    world
        .store
        .intend(
            Asker::SERVICE,
            &Intent { region: REGION.to_owned(), key, spec, cka_id, key_store: None, made: Running::default() },
        )
        .await
        .unwrap();
    world.work().await;
    world.clock.advance(days(1));
    world.work().await;
    assert_eq!(world.store.intents_before(Running::from_ms(u64::MAX)).await.unwrap(), []);
    assert!(world.hsm_has(&material).await);
}
