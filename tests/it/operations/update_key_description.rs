//! UpdateKeyDescription: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html>.

use serde_json::json;

use super::{About, CHANGE, KEY, Kind, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "UpdateKeyDescription",
    members: &[must("KeyId", KEY), must("Description", Kind::Text(0, 8192))],
    request: |things| json!({"KeyId": things.key, "Description": "a description"}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: CHANGE,
};

#[tokio::test]
async fn the_description_is_the_keys_then() {
    let world = World::new().await;
    let key = world.key().await;
    for description in ["a \"description\" – with\nall kinds of characters \u{1f511}", ""] {
        let answer = world.call("UpdateKeyDescription", json!({"KeyId": key, "Description": description})).await;
        assert_eq!((answer.status, answer.text()), (200, String::new()));
        let metadata = &world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"];
        assert_eq!(metadata["Description"], description);
    }
}
