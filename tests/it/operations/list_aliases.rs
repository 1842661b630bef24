//! ListAliases: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html>.

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::clock::days;

use super::{ANY_STATE, About, KEY, Kind, MARKER, Names, Subject, may};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "ListAliases",
    members: &[may("KeyId", KEY), may("Limit", Kind::Stricter((1, 1000), (1, 100))), may("Marker", MARKER)],
    request: |_| json!({}),
    about: About::Nothing,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

/// A world with a key of so many aliases, `alias/000` and on.
async fn with_aliases(count: usize) -> (World, String) {
    let world = World::new().await;
    let key = world.key().await;
    for n in 0..count {
        world.alias(&format!("alias/{n:03}"), &key).await;
    }
    (world, key)
}

fn names(answer: &Value) -> Vec<String> {
    let aliases = answer["Aliases"].as_array().unwrap();
    aliases.iter().map(|alias| alias["AliasName"].as_str().unwrap()["alias/".len()..].to_owned()).collect()
}

#[tokio::test]
async fn none() {
    let world = World::new().await;
    assert_eq!(world.ok("ListAliases", json!({})).await, json!({"Aliases": [], "Truncated": false}));
}

#[tokio::test]
async fn an_alias_that_was_moved() {
    let (world, _) = with_aliases(1).await;
    world.clock.advance(days(1));
    let other = world.key().await;
    world.ok("UpdateAlias", json!({"AliasName": "alias/000", "TargetKeyId": other})).await;
    world.check("ListAliases", json!({}), expect![[r#"
        {
          "Aliases": [
            {
              "AliasArn": "arn:aws:kms:eu-test-1:111122223333:alias/000",
              "AliasName": "alias/000",
              "CreationDate": 1767225600.0,
              "LastUpdatedDate": 1767312000.0,
              "TargetKeyId": "KEY1"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn pages_follow_each_other() {
    let (world, key) = with_aliases(5).await;
    let first = world.ok("ListAliases", json!({"Limit": 2})).await;
    let second = world.ok("ListAliases", json!({"Limit": 2, "Marker": first["NextMarker"]})).await;
    let third = world.ok("ListAliases", json!({"Limit": 100, "Marker": second["NextMarker"]})).await;
    assert_eq!([names(&first), names(&second), names(&third)].concat(), ["000", "001", "002", "003", "004"]);
    assert_eq!([&first, &second, &third].map(|page| page["Truncated"] == true), [true, true, false]);
    assert!(third.get("NextMarker").is_none());
    let whole = world.ok("ListAliases", json!({"KeyId": key, "Limit": 5})).await;
    assert_eq!(whole["Truncated"], false);
}

#[tokio::test]
async fn fifty_at_a_time_unless_told_otherwise() {
    let (world, _) = with_aliases(50).await;
    world.alias("alias/one-more", &world.key().await).await;
    let first = world.ok("ListAliases", json!({})).await;
    assert_eq!(names(&first).len(), 50);
    assert_eq!(names(&world.ok("ListAliases", json!({"Limit": 100})).await).len(), 51);
    let rest = world.ok("ListAliases", json!({"Marker": first["NextMarker"]})).await;
    assert_eq!(names(&rest), ["one-more"]);
}

#[tokio::test]
async fn of_one_key_only() {
    let (world, key) = with_aliases(2).await;
    let other = world.key().await;
    world.alias("alias/other", &other).await;
    assert_eq!(names(&world.ok("ListAliases", json!({"KeyId": key})).await), ["000", "001"]);
    assert_eq!(names(&world.ok("ListAliases", json!({"KeyId": world.arn_of(&other)})).await), ["other"]);
    assert!(names(&world.ok("ListAliases", json!({"KeyId": world.key().await})).await).is_empty());
}

#[tokio::test]
async fn a_marker_belongs_to_its_list() {
    let (world, key) = with_aliases(2).await;
    world.key().await;
    let of_all = world.ok("ListAliases", json!({"Limit": 1})).await["NextMarker"].clone();
    let of_key = world.ok("ListAliases", json!({"Limit": 1, "KeyId": key})).await["NextMarker"].clone();
    let of_keys = world.ok("ListKeys", json!({"Limit": 1})).await["NextMarker"].clone();
    for request in [
        json!({"KeyId": key, "Marker": of_all}),
        json!({"Marker": of_key}),
        json!({"Marker": of_keys}),
        json!({"Marker": "junk"}),
        json!({"Marker": "é"}),
    ] {
        world.refuse("ListAliases", request, "InvalidMarkerException", "").await;
    }
    let there = world.in_region("eu-other-1");
    there.refuse("ListAliases", json!({"Marker": of_all}), "InvalidMarkerException", "").await;
}

#[tokio::test]
async fn a_region_lists_its_own() {
    let (world, _) = with_aliases(1).await;
    assert!(names(&world.in_region("eu-other-1").ok("ListAliases", json!({})).await).is_empty());
}
