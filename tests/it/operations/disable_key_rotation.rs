//! DisableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKeyRotation.html>.

use serde_json::json;
use strongroom::clock::days;

use super::{About, KEY, Names, Subject, enable_key_rotation::ROTATION, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "DisableKeyRotation",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ROTATION,
};

#[tokio::test]
async fn no_more_material_comes_by_itself() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("EnableKeyRotation", key.clone()).await;
    let answer = world.call("DisableKeyRotation", key.clone()).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    world.clock.advance(days(400));
    world.work().await;
    assert_eq!(world.ok("ListKeyRotations", key.clone()).await["Rotations"], json!([]));
    assert_eq!(world.ok("GetKeyRotationStatus", key).await["KeyRotationEnabled"], false);
}

#[tokio::test]
async fn a_period_that_ran_does_not_go_on_when_rotation_is_enabled_again() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("EnableKeyRotation", key.clone()).await;
    world.ok("DisableKeyRotation", key.clone()).await;
    world.clock.advance(days(364));
    world.ok("EnableKeyRotation", key.clone()).await;
    world.clock.advance(days(2));
    world.work().await;
    assert_eq!(world.ok("ListKeyRotations", key).await["Rotations"], json!([]));
}
