//! ListResourceTags: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html>.

use serde_json::{Value, json};

use super::{ANY_STATE, About, KEY, Kind, MARKER, Names, Subject, may, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "ListResourceTags",
    members: &[must("KeyId", KEY), may("Limit", Kind::Stricter((1, 1000), (1, 50))), may("Marker", MARKER)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

/// A world with a key of so many tags.
async fn with_tags(count: usize) -> (World, String) {
    let world = World::new().await;
    let tags: Value = (0..count).map(|n| json!({"TagKey": n.to_string(), "TagValue": "v"})).collect();
    let made = world.ok("CreateKey", json!({"Tags": tags})).await;
    (world, made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned())
}

fn keys(answer: &Value) -> Vec<&str> {
    answer["Tags"].as_array().unwrap().iter().map(|tag| tag["TagKey"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn none_and_one() {
    for (count, tags) in [(0, json!([])), (1, json!([{"TagKey": "0", "TagValue": "v"}]))] {
        let (world, key) = with_tags(count).await;
        let answer = world.ok("ListResourceTags", json!({"KeyId": key})).await;
        assert_eq!(answer, json!({"Tags": tags, "Truncated": false}));
    }
}

#[tokio::test]
async fn all_fifty_fit_one_page_and_smaller_pages_follow_each_other() {
    let (world, key) = with_tags(50).await;
    let whole = world.ok("ListResourceTags", json!({"KeyId": key})).await;
    assert_eq!((keys(&whole).len(), &whole["Truncated"]), (50, &json!(false)));
    let first = world.ok("ListResourceTags", json!({"KeyId": key, "Limit": 30})).await;
    let rest = world.ok("ListResourceTags", json!({"KeyId": key, "Marker": first["NextMarker"]})).await;
    assert_eq!([keys(&first), keys(&rest)].concat(), keys(&whole));
}

#[tokio::test]
async fn a_marker_belongs_to_its_key() {
    let (world, key) = with_tags(2).await;
    let marker = world.ok("ListResourceTags", json!({"KeyId": key, "Limit": 1})).await["NextMarker"].clone();
    let other = world.key().await;
    for (key, marker) in [(&other, &marker), (&key, &json!("junk"))] {
        let request = json!({"KeyId": key, "Marker": marker});
        world.refuse("ListResourceTags", request, "InvalidMarkerException", "").await;
    }
}
