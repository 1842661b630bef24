//! EnableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html>.

use serde_json::json;

use super::{About, KEY, Names, SWITCH, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "EnableKey",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: SWITCH,
};

#[tokio::test]
async fn a_disabled_key_works_again() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("DisableKey", json!({"KeyId": key})).await;
    let answer = world.call("EnableKey", json!({"KeyId": key})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    world.encrypt(&key, b"x").await;
}

#[tokio::test]
async fn an_enabled_key_stays_so() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("EnableKey", key.clone()).await;
    assert_eq!(world.ok("DescribeKey", key).await["KeyMetadata"]["KeyState"], "Enabled");
}
