//! ListGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html>.

use expect_test::expect;
use serde_json::{Value, json};

use super::{
    ANY_STATE, About, GRANT_ID, KEY, Kind, MARKER, Names, PRINCIPAL, Subject,
    create_grant::{ADA, granted},
    may, must,
};
use crate::world::{World, text, with};

pub const SUBJECT: Subject = Subject {
    name: "ListGrants",
    members: &[
        may("Limit", Kind::Stricter((1, 1000), (1, 100))),
        may("Marker", MARKER),
        must("KeyId", KEY),
        may("GrantId", GRANT_ID),
        may("GranteePrincipal", PRINCIPAL),
        may("GranteeServicePrincipal", Kind::Service),
    ],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

const EVE: &str = "arn:aws:iam::111122223333:user/eve";

pub fn ids(answer: &Value) -> Vec<String> {
    answer["Grants"].as_array().unwrap().iter().map(|grant| text(grant, "GrantId")).collect()
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.key().await;
    assert_eq!(world.ok("ListGrants", json!({"KeyId": key})).await, json!({"Grants": [], "Truncated": false}));
    let constraints = json!({"EncryptionContextEquals": {"tenant": "7"}});
    granted(&world, &key, json!({"Name": "n", "RetiringPrincipal": EVE, "Constraints": constraints})).await;
    world.check("ListGrants", json!({"KeyId": key}), expect![[r#"
        {
          "Grants": [
            {
              "Constraints": {
                "EncryptionContextEquals": {
                  "tenant": "7"
                }
              },
              "CreationDate": 1767225600.0,
              "GrantId": "GRANT",
              "GranteePrincipal": "arn:aws:iam::111122223333:user/ada",
              "IssuingAccount": "arn:aws:iam::111122223333:root",
              "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
              "Name": "n",
              "Operations": [
                "Encrypt",
                "DescribeKey"
              ],
              "RetiringPrincipal": "arn:aws:iam::111122223333:user/eve"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn what_a_grant_does_not_have_is_not_there() {
    let world = World::new().await;
    let key = world.key().await;
    granted(&world, &key, json!({})).await;
    let grant = world.ok("ListGrants", json!({"KeyId": key})).await["Grants"][0].clone();
    for absent in ["Name", "RetiringPrincipal", "Constraints", "GranteeServicePrincipal", "RetiringServicePrincipal"] {
        assert!(grant.get(absent).is_none(), "{grant}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_the_order_of_ids() {
    let world = World::new().await;
    let key = world.key().await;
    let mut made = Vec::new();
    for grantee in [ADA, EVE, ADA, EVE, ADA] {
        made.push((grantee, granted(&world, &key, json!({"GranteePrincipal": grantee})).await.0));
    }
    for (filter, grantee) in [(json!({}), None), (json!({"GranteePrincipal": ADA}), Some(ADA))] {
        let theirs = made.iter().filter(|(of, _)| grantee.is_none_or(|grantee| grantee == *of));
        let mut expected: Vec<_> = theirs.map(|(_, id)| id.clone()).collect();
        expected.sort();
        let (mut seen, mut marker) = (Vec::new(), Value::Null);
        loop {
            let request = with(filter.clone(), json!({"KeyId": key, "Limit": 2, "Marker": marker}));
            let page = world.ok("ListGrants", request).await;
            seen.extend(ids(&page));
            marker = page["NextMarker"].clone();
            assert_eq!(page["Truncated"], !marker.is_null());
            if marker.is_null() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn fifty_at_a_time_unless_told_otherwise() {
    let world = World::new().await;
    let key = world.key().await;
    granted(&world, &key, json!({})).await;
    crate::service::grants::multiply(&world, &key, 100).await;
    for (limit, count) in [(json!({}), 50), (json!({"Limit": 100}), 100), (json!({"Limit": 1}), 1)] {
        assert_eq!(ids(&world.ok("ListGrants", with(limit, json!({"KeyId": key}))).await).len(), count);
    }
}

#[tokio::test]
async fn a_filter_leaves_what_fits_it() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    let role = "arn:aws:iam::111122223333:role/path/Ops";
    let (ada, _) = granted(&world, &key, json!({})).await;
    let (ops, _) = granted(&world, &key, json!({"GranteePrincipal": role})).await;
    let (elsewhere, _) = granted(&world, &other, json!({})).await;
    for (filter, expected) in [
        (json!({"GrantId": ada}), vec![&ada]),
        (json!({"GrantId": ada, "GranteePrincipal": ADA}), vec![&ada]),
        (json!({"GrantId": ada, "GranteePrincipal": EVE}), vec![]),
        (json!({"GrantId": elsewhere}), vec![]),
        (json!({"GrantId": "0".repeat(64)}), vec![]),
        (json!({"GranteePrincipal": role}), vec![&ops]),
        (json!({"GranteePrincipal": "arn:aws:iam::111122223333:role/Ops"}), vec![]),
        (json!({"GranteePrincipal": "arn:aws:iam::111122223333:root"}), vec![]),
        (json!({"GranteeServicePrincipal": "logs.eu.amazonaws.com"}), vec![]),
    ] {
        let answer = world.ok("ListGrants", with(filter.clone(), json!({"KeyId": key}))).await;
        assert_eq!(ids(&answer).iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    for bad in ["x", &ada[1..], &ada.to_uppercase()] {
        world.refuse("ListGrants", json!({"KeyId": key, "GrantId": bad}), "InvalidGrantIdException", "").await;
    }
}

#[tokio::test]
async fn a_marker_belongs_to_its_list() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    for key in [&key, &key, &other, &other] {
        granted(&world, key, json!({})).await;
    }
    let marker = world.ok("ListGrants", json!({"KeyId": key, "Limit": 1})).await["NextMarker"].clone();
    for request in [
        json!({"KeyId": other, "Marker": marker}),
        json!({"KeyId": key, "Marker": marker, "GranteePrincipal": ADA}),
        json!({"KeyId": key, "Marker": "junk"}),
    ] {
        world.refuse("ListGrants", request, "InvalidMarkerException", "").await;
    }
}
