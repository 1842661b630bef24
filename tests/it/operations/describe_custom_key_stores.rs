//! DescribeCustomKeyStores: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeCustomKeyStores.html>.

use std::collections::BTreeSet;

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::custom_store::ConnectionState;

use super::{ANY_STATE, About, Kind, MARKER, Subject, may};
use crate::world::{World, text, wanted_key_store};

pub const SUBJECT: Subject = Subject {
    name: "DescribeCustomKeyStores",
    members: &[
        may("CustomKeyStoreId", Kind::Text(1, 64)),
        may("CustomKeyStoreName", Kind::Text(1, 256)),
        may("Limit", Kind::Int(1, 1000)),
        may("Marker", MARKER),
    ],
    request: |_| json!({}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

fn ids(answer: &Value) -> Vec<String> {
    answer["CustomKeyStores"].as_array().unwrap().iter().map(|item| text(item, "CustomKeyStoreId")).collect()
}

#[tokio::test]
async fn none_and_one() {
    let world = World::new().await;
    let none = json!({"CustomKeyStores": [], "Truncated": false});
    assert_eq!(world.ok("DescribeCustomKeyStores", json!({})).await, none);
    let id = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    world.check("DescribeCustomKeyStores", json!({}), expect![[r#"
        {
          "CustomKeyStores": [
            {
              "CloudHsmClusterId": "cluster-2abcdefghij",
              "ConnectionState": "DISCONNECTED",
              "CreationDate": 1767225600.0,
              "CustomKeyStoreId": "KEYSTORE",
              "CustomKeyStoreName": "ours",
              "CustomKeyStoreType": "AWS_CLOUDHSM",
              "TrustAnchorCertificate": "PEM"
            }
          ],
          "Truncated": false
        }"#]]).await;
    let all = world.ok("DescribeCustomKeyStores", json!({})).await;
    assert_eq!(world.ok("DescribeCustomKeyStores", json!({"CustomKeyStoreId": id})).await, all);
    assert_eq!(world.ok("DescribeCustomKeyStores", json!({"CustomKeyStoreName": "ours"})).await, all);
    assert_eq!(world.in_region("eu-other-1").ok("DescribeCustomKeyStores", json!({})).await, none);
}

#[tokio::test]
async fn one_is_named_in_one_way() {
    let world = World::new().await;
    let id = world.plant_key_store(ConnectionState::Disconnected).await;
    let both = json!({"CustomKeyStoreId": id, "CustomKeyStoreName": format!("planted {id}")});
    let message = "Please specify either CustomKeyStoreId or CustomKeyStoreName, not both.";
    world.refuse("DescribeCustomKeyStores", both, "ValidationException", message).await;
    for unknown in [json!({"CustomKeyStoreId": "cks-0123456789abcdef0"}), json!({"CustomKeyStoreName": "none"})] {
        world.refuse("DescribeCustomKeyStores", unknown, "CustomKeyStoreNotFoundException", "").await;
    }
}

#[tokio::test]
async fn pages_hold_each_once() {
    let world = World::new().await;
    let mut made = BTreeSet::new();
    for _ in 0..5 {
        made.insert(world.plant_key_store(ConnectionState::Disconnected).await);
    }
    let (mut listed, mut marker, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = world.ok("DescribeCustomKeyStores", json!({"Limit": 2, "Marker": marker})).await;
        listed.extend(ids(&page));
        pages += 1;
        marker = page["NextMarker"].clone();
        assert_eq!(page["Truncated"], !marker.is_null());
        if marker.is_null() {
            break;
        }
    }
    assert_eq!((listed.len(), pages, BTreeSet::from_iter(listed)), (5, 3, made));
    world.refuse("DescribeCustomKeyStores", json!({"Marker": "junk"}), "InvalidMarkerException", "").await;
}
