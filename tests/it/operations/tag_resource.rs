//! TagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html>.

use serde_json::{Value, json};

use super::{About, CHANGE, KEY, Kind, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "TagResource",
    members: &[must("KeyId", KEY), must("Tags", Kind::Tags)],
    request: |things| json!({"KeyId": things.key, "Tags": [{"TagKey": "k", "TagValue": "v"}]}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: CHANGE,
};

fn tag(key: &str, value: &str) -> Value {
    json!({"TagKey": key, "TagValue": value})
}

#[tokio::test]
async fn tags_are_added_and_overwritten_in_their_place() {
    let world = World::new().await;
    let key = world.key().await;
    let answer = world.call("TagResource", json!({"KeyId": key, "Tags": [tag("a", "1"), tag("b", "")]})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    world.ok("TagResource", json!({"KeyId": key, "Tags": [tag("c", "3"), tag("a", "4")]})).await;
    let tags = &world.ok("ListResourceTags", json!({"KeyId": key})).await["Tags"];
    assert_eq!(*tags, json!([tag("a", "4"), tag("b", ""), tag("c", "3")]));
}

#[tokio::test]
async fn tag_keys_are_told_apart_by_case() {
    let world = World::new().await;
    let key = world.key().await;
    world.ok("TagResource", json!({"KeyId": key, "Tags": [tag("a", ""), tag("A", "")]})).await;
    let tags = &world.ok("ListResourceTags", json!({"KeyId": key})).await["Tags"];
    assert_eq!(tags.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn refusals() {
    let world = World::new().await;
    let key = world.key().await;
    let many = |from: usize, to| (from..to).map(|n| tag(&n.to_string(), "")).collect::<Value>();
    world.ok("TagResource", json!({"KeyId": key, "Tags": many(0, 50)})).await;
    world.ok("TagResource", json!({"KeyId": key, "Tags": [tag("49", "again")]})).await;
    for (tags, message) in [
        (json!([tag("49", ""), tag("49", "")]), "Duplicate tag keys"),
        (many(50, 51), "Too many tags"),
        (json!([tag("aws:x", "")]), "Tags beginning with aws: are reserved"),
        (json!([tag("Aws:", "")]), "Tags beginning with aws: are reserved"),
        (json!([tag("49", "My & My Team")]), "Invalid tag"),
        (json!([tag("a,b", "")]), "Invalid tag"),
    ] {
        world.refuse("TagResource", json!({"KeyId": key, "Tags": tags}), "TagException", message).await;
    }
}

#[tokio::test]
async fn a_refused_list_changes_nothing() {
    let world = World::new().await;
    let key = world.key().await;
    let request = json!({"KeyId": key, "Tags": [tag("a", ""), tag("aws:x", "")]});
    assert_eq!(world.call("TagResource", request).await.code(), "TagException");
    assert_eq!(world.ok("ListResourceTags", json!({"KeyId": key})).await["Tags"], json!([]));
}

#[tokio::test]
async fn keys_and_values_have_lengths() {
    let world = World::new().await;
    let key = world.key().await;
    let longest = [tag(&"k".repeat(128), &"v".repeat(256)), tag("e", "")];
    world.ok("TagResource", json!({"KeyId": key, "Tags": longest})).await;
    for (tag, value, at, rule) in [
        (tag("", ""), "'' ".to_owned(), "tagKey", "have length greater than or equal to 1"),
        (tag(&"k".repeat(129), ""), format!("'{}' ", "k".repeat(129)), "tagKey", "have length less than or equal to 128"),
        (tag("k", &"v".repeat(257)), format!("'{}' ", "v".repeat(257)), "tagValue", "have length less than or equal to 256"),
        (json!({"TagKey": "k"}), "null ".to_owned(), "tagValue", "not be null"),
        (json!({"TagValue": "v"}), "null ".to_owned(), "tagKey", "not be null"),
    ] {
        let message = format!(
            "1 validation error detected: Value {value}at 'tags.2.member.{at}' failed to satisfy constraint: Member must \
             {rule}"
        );
        let request = json!({"KeyId": key, "Tags": [json!({"TagKey": "first", "TagValue": ""}), tag]});
        world.refuse("TagResource", request, "ValidationException", &message).await;
    }
}
