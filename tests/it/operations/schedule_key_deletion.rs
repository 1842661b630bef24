//! ScheduleKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html>.

use expect_test::expect;
use serde_json::json;
use strongroom::clock::days;

use super::{About, KEY, Kind, Names, Subject, may, must};
use crate::world::{START, World};

pub const SUBJECT: Subject = Subject {
    name: "ScheduleKeyDeletion",
    members: &[must("KeyId", KEY), may("PendingWindowInDays", Kind::Stricter((1, 365), (7, 30)))],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: [0, 0, 3, 3, 0, 0, 0, 15],
};

#[tokio::test]
async fn thirty_days_unless_told_otherwise() {
    let world = World::new().await;
    let key = world.key().await;
    world.check("ScheduleKeyDeletion", json!({"KeyId": key}), expect![[r#"
        {
          "DeletionDate": 1769817600.0,
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyState": "PendingDeletion",
          "PendingWindowInDays": 30
        }"#]]).await;
}

#[tokio::test]
async fn the_date_is_so_many_days_from_now() {
    let world = World::new().await;
    for window in [7, 8, 30] {
        let request = json!({"KeyId": world.key().await, "PendingWindowInDays": window});
        let answer = world.ok("ScheduleKeyDeletion", request).await;
        assert_eq!(answer["PendingWindowInDays"], window);
        assert_eq!(answer["DeletionDate"], START.plus(days(window)).epoch_seconds());
    }
}

#[tokio::test]
async fn a_second_time_is_refused_and_the_date_stays() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key})).await;
    let pending = format!("{} is pending deletion.", world.arn_of(&key));
    let again = json!({"KeyId": key, "PendingWindowInDays": 7});
    world.refuse("ScheduleKeyDeletion", again, "KMSInvalidStateException", &pending).await;
    let metadata = &world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"];
    assert_eq!(metadata["DeletionDate"], START.plus(days(30)).epoch_seconds());
}

#[tokio::test]
async fn a_disabled_key_that_is_pending_deletion_is_told_as_pending() {
    let world = World::new().await;
    let key = world.key().await;
    let blob = world.encrypt(&key, b"x").await;
    world.ok("DisableKey", json!({"KeyId": key})).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key})).await;
    let pending = format!("{} is pending deletion.", world.arn_of(&key));
    world.refuse("Decrypt", json!({"CiphertextBlob": blob}), "KMSInvalidStateException", &pending).await;
}
