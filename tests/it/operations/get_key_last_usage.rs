//! GetKeyLastUsage: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html>.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom::{
    clock::{Clock, days},
    key::usage::UsingOperation,
    operations::TABLE,
};

use super::{ANY_STATE, About, KEY, Names, Subject, Things, USE, must, subjects};
use crate::world::{START, World, with};

pub const SUBJECT: Subject = Subject {
    name: "GetKeyLastUsage",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

async fn last(world: &World, key: &str) -> Value {
    world.ok("GetKeyLastUsage", json!({"KeyId": key})).await["KeyLastUsage"].clone()
}

#[tokio::test]
async fn a_key_that_was_never_used() {
    let world = World::new().await;
    world.clock.advance(days(1));
    let key = world.key().await;
    world.clock.advance(days(1));
    assert_eq!(
        world.ok("GetKeyLastUsage", json!({"KeyId": key})).await,
        json!({
            "KeyId": world.arn_of(&key),
            "KeyLastUsage": {},
            "TrackingStartDate": START.plus(days(2)).epoch_seconds(),
            "KeyCreationDate": START.plus(days(1)).epoch_seconds(),
        })
    );
}

#[tokio::test]
async fn tracking_begins_with_the_key_or_with_the_first_heartbeat() {
    let world = World::new().await;
    let older = world.key().await;
    world.clock.advance(days(1));
    world.work().await;
    world.clock.advance(days(1));
    let younger = world.key().await;
    let world = world.reopened().await;
    world.clock.advance(days(1));
    for (key, day) in [(older, 1), (younger, 2)] {
        let answer = world.ok("GetKeyLastUsage", json!({"KeyId": key})).await;
        assert_eq!(answer["TrackingStartDate"], START.plus(days(day)).epoch_seconds());
    }
}

#[tokio::test]
async fn every_use_counts_and_nothing_else() {
    let world = World::new().await;
    let mut counted = 0;
    for subject in subjects() {
        let things = Things::of(subject, &world).await;
        let before = last(&world, &things.key).await;
        world.clock.advance(Duration::from_secs(1));
        let answer = world.call(subject.name, (subject.request)(&things)).await;
        let record = &answer.records[0];
        let after = last(&world, &things.key).await;
        if UsingOperation::from_name(subject.name).is_none() {
            assert_eq!(after, before, "{}", subject.name);
            continue;
        }
        counted += 1;
        let told = json!({
            "Operation": subject.name,
            "Timestamp": world.clock.now().epoch_seconds(),
            "CloudTrailEventId": record["eventID"],
            "KmsRequestId": record["requestID"],
        });
        assert_eq!(after, told, "{}", subject.name);
    }
    assert!(counted >= 12, "{counted}");
}

#[test]
fn what_uses_a_key_is_what_wants_it_enabled_and_changes_nothing_but_for_its_public_half() {
    let reads = |name| TABLE.iter().any(|entry| entry.name == name && entry.read_only);
    let uses =
        |subject: &&Subject| subject.states == USE && reads(subject.name) && subject.name != "GetPublicKey";
    let mut using: Vec<_> = super::SUBJECTS.iter().filter(uses).map(|subject| subject.name).collect();
    let mut counted: Vec<_> = UsingOperation::ALL.iter().map(|operation| operation.as_str()).collect();
    using.sort_unstable();
    counted.sort_unstable();
    assert_eq!(using, counted);
}

#[tokio::test]
async fn a_call_that_fails_or_is_dry_is_no_use() {
    let world = World::new().await;
    for subject in subjects().filter(|subject| UsingOperation::from_name(subject.name).is_some()) {
        let things = Things::of(subject, &world).await;
        let before = last(&world, &things.key).await;
        world.clock.advance(Duration::from_secs(1));
        let request = (subject.request)(&things);
        let nobody = world.as_user(&[]).await;
        assert_eq!(nobody.call(subject.name, request.clone()).await.code(), "AccessDeniedException");
        let dry = world.call(subject.name, with(request, json!({"DryRun": true}))).await;
        assert_eq!(dry.code(), "DryRunOperationException");
        assert_eq!(last(&world, &things.key).await, before, "{}", subject.name);
    }
    let key = world.key().await;
    let blob = world.encrypt(&key, b"x").await;
    let before = last(&world, &key).await;
    world.clock.advance(Duration::from_secs(1));
    let wrong = json!({"CiphertextBlob": blob, "EncryptionContext": {"another": "context"}});
    assert_eq!(world.call("Decrypt", wrong).await.code(), "InvalidCiphertextException");
    assert_eq!(last(&world, &key).await, before);
}

#[tokio::test]
async fn re_encrypt_is_a_use_of_both_keys() {
    let world = World::new().await;
    let (source, destination) = (world.key().await, world.key().await);
    let blob = world.encrypt(&source, b"x").await;
    let answer = world.call("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": destination})).await;
    for key in [source, destination] {
        let last = last(&world, &key).await;
        assert_eq!((&last["Operation"], &last["CloudTrailEventId"]), (&json!("ReEncrypt"), &answer.records[0]["eventID"]));
    }
}

#[tokio::test]
async fn a_key_is_used_under_any_of_its_names() {
    let world = World::new().await;
    let key = world.key().await;
    world.alias("alias/a", &key).await;
    world.ok("Encrypt", json!({"KeyId": world.arn_of("alias/a"), "Plaintext": "eA=="})).await;
    assert_eq!(last(&world, &key).await["Operation"], "Encrypt");
}

#[tokio::test]
async fn what_was_written_is_known_after_a_restart_and_what_was_not_is_lost() {
    let world = World::new().await;
    let key = world.key().await;
    world.encrypt(&key, b"x").await;
    let first = last(&world, &key).await;
    world.work().await;
    assert_eq!(last(&world, &key).await, first);
    world.clock.advance(Duration::from_secs(1));
    world.ok("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).await;
    assert_eq!(last(&world, &key).await["Operation"], "GenerateDataKey", "this process knows");
    let world = world.reopened().await;
    assert_eq!(last(&world, &key).await, first);
    world.work().await;
    assert_eq!(last(&world, &key).await, first, "nothing is written over what is known");
}

#[tokio::test]
async fn a_date_that_was_ahead_is_no_last_use_for_ever() {
    let world = World::new().await;
    let key = world.key().await;
    let year = i64::try_from(days(365).as_millis()).unwrap();
    world.clock.jump(year);
    world.encrypt(&key, b"x").await;
    world.work().await;
    world.clock.jump(-year);
    let of_the_future = last(&world, &key).await;
    world.encrypt(&key, b"x").await;
    assert_ne!(last(&world, &key).await, of_the_future);
    world.work().await;
    assert_eq!(last(&world, &key).await["Timestamp"], START.epoch_seconds());
}

#[tokio::test]
async fn with_the_key_its_last_use_is_forgotten() {
    let world = World::new().await;
    let key = world.key().await;
    world.encrypt(&key, b"x").await;
    let id = strongroom::key::reference::KeyId::parse(&key).unwrap();
    world.work().await;
    assert!(world.store.last_use(crate::world::REGION, id).await.unwrap().is_some());
    world.encrypt(&key, b"x").await;
    world.delete(&key).await;
    world.work().await;
    assert_eq!(world.store.last_use(crate::world::REGION, id).await.unwrap(), None);
}
