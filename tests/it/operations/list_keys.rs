//! ListKeys: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html>.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ANY_STATE, About, Kind, MARKER, Subject, may};
use crate::world::{REGION, World};

pub const SUBJECT: Subject = Subject {
    name: "ListKeys",
    members: &[may("Limit", Kind::Int(1, 1000)), may("Marker", MARKER)],
    request: |_| json!({}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

fn ids(answer: &Value) -> Vec<String> {
    let keys = answer["Keys"].as_array().unwrap();
    keys.iter().map(|key| key["KeyId"].as_str().unwrap().to_owned()).collect()
}

async fn plant(world: &World) -> String {
    world.plant(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await
}

#[tokio::test]
async fn none_and_one() {
    let world = World::new().await;
    assert_eq!(world.ok("ListKeys", json!({})).await, json!({"Keys": [], "Truncated": false}));
    world.key().await;
    world.check("ListKeys", json!({}), expect![[r#"
        {
          "Keys": [
            {
              "KeyArn": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
              "KeyId": "KEY1"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn pages_hold_each_key_once() {
    let world = World::new().await;
    let mut keys = BTreeSet::new();
    for _ in 0..5 {
        keys.insert(plant(&world).await);
    }
    let (mut listed, mut marker, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = world.ok("ListKeys", json!({"Limit": 2, "Marker": marker})).await;
        listed.extend(ids(&page));
        pages += 1;
        marker = page["NextMarker"].clone();
        assert_eq!(page["Truncated"], !marker.is_null());
        if marker.is_null() {
            break;
        }
    }
    assert_eq!((listed.len(), pages), (5, 3));
    assert_eq!(BTreeSet::from_iter(listed), keys);
}

#[tokio::test]
async fn a_hundred_at_a_time_unless_told_otherwise() {
    let world = World::new().await;
    for _ in 0..101 {
        plant(&world).await;
    }
    let first = world.ok("ListKeys", json!({})).await;
    assert_eq!((ids(&first).len(), &first["Truncated"]), (100, &json!(true)));
    assert_eq!(ids(&world.ok("ListKeys", json!({"Marker": first["NextMarker"]})).await).len(), 1);
    assert_eq!(ids(&world.ok("ListKeys", json!({"Limit": 1000})).await).len(), 101);
}

#[tokio::test]
async fn keys_of_every_state_are_listed_and_of_this_region_only() {
    let world = World::new().await;
    let key = plant(&world).await;
    for state in KeyState::ALL {
        world.set_state(&key, *state).await;
        assert_eq!(ids(&world.ok("ListKeys", json!({})).await), std::slice::from_ref(&key));
    }
    assert!(ids(&world.in_region("eu-other-1").ok("ListKeys", json!({})).await).is_empty());
}

#[tokio::test]
async fn a_marker_that_was_not_given_out_is_refused() {
    let world = World::new().await;
    let (_, key) = (world.key().await, world.key().await);
    world.alias("alias/a", &key).await;
    world.alias("alias/b", &key).await;
    let of_aliases = world.ok("ListAliases", json!({"Limit": 1})).await["NextMarker"].clone();
    let made_up = URL_SAFE_NO_PAD.encode(format!("keys {REGION}\nno key id"));
    for marker in [json!("junk"), json!("="), of_aliases, json!(made_up)] {
        world.refuse("ListKeys", json!({"Marker": marker}), "InvalidMarkerException", "").await;
    }
}

#[tokio::test]
async fn a_page_goes_on_where_its_last_key_was_deleted() {
    let world = World::new().await;
    for _ in 0..3 {
        plant(&world).await;
    }
    let all = ids(&world.ok("ListKeys", json!({})).await);
    let first = world.ok("ListKeys", json!({"Limit": 1})).await;
    world.delete(&all[0]).await;
    let rest = world.ok("ListKeys", json!({"Marker": first["NextMarker"]})).await;
    assert_eq!(ids(&rest), all[1..]);
}
