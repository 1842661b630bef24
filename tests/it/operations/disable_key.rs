//! DisableKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html>.

use serde_json::json;

use super::{About, KEY, Names, SWITCH, Subject, must};
use crate::world::{World, base64};

pub const SUBJECT: Subject = Subject {
    name: "DisableKey",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: SWITCH,
};

#[tokio::test]
async fn the_key_is_not_used_any_more() {
    let world = World::new().await;
    let key = world.key().await;
    let blob = world.encrypt(&key, b"x").await;
    let answer = world.call("DisableKey", json!({"KeyId": key})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let disabled = format!("{} is disabled.", world.arn_of(&key));
    let encrypt = json!({"KeyId": key, "Plaintext": base64(b"x")});
    world.refuse("Encrypt", encrypt, "DisabledException", &disabled).await;
    world.refuse("Decrypt", json!({"CiphertextBlob": blob}), "DisabledException", &disabled).await;
}

#[tokio::test]
async fn twice_is_as_good_as_once() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("DisableKey", key.clone()).await;
    world.ok("DisableKey", key.clone()).await;
    assert_eq!(world.ok("DescribeKey", key).await["KeyMetadata"]["KeyState"], "Disabled");
}
