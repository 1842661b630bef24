//! UntagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UntagResource.html>.

use serde_json::json;

use super::{About, CHANGE, KEY, Kind, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "UntagResource",
    members: &[must("KeyId", KEY), must("TagKeys", Kind::Texts(usize::MAX))],
    request: |things| json!({"KeyId": things.key, "TagKeys": ["k"]}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: CHANGE,
};

#[tokio::test]
async fn the_tags_are_gone_and_a_tag_that_is_not_there_is_no_error() {
    let world = World::new().await;
    let tags = json!([{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b", "TagValue": "2"}]);
    let key = world.ok("CreateKey", json!({"Tags": tags})).await["KeyMetadata"]["KeyId"].clone();
    let answer = world.call("UntagResource", json!({"KeyId": key, "TagKeys": ["a", "none", "a"]})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let left = &world.ok("ListResourceTags", json!({"KeyId": key})).await["Tags"];
    assert_eq!(*left, json!([{"TagKey": "b", "TagValue": "2"}]));
}

#[tokio::test]
async fn a_tag_key_has_a_length() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("UntagResource", json!({"KeyId": key, "TagKeys": ["k".repeat(128)]})).await;
    for tag_key in [String::new(), "k".repeat(129)] {
        let answer = world.call("UntagResource", json!({"KeyId": key, "TagKeys": [tag_key]})).await;
        assert_eq!(answer.code(), "ValidationException");
    }
}
