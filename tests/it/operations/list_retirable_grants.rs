//! ListRetirableGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html>.

use serde_json::json;

use super::{
    ANY_STATE, About, Kind, MARKER, PRINCIPAL, Subject,
    create_grant::{ADA, granted},
    list_grants::ids,
    may, must,
};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "ListRetirableGrants",
    members: &[
        may("Limit", Kind::Stricter((1, 1000), (1, 100))),
        may("Marker", MARKER),
        must("RetiringPrincipal", PRINCIPAL),
        may("RetiringServicePrincipal", Kind::Service),
    ],
    request: |_| json!({"RetiringPrincipal": ADA}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn of_all_keys_of_the_region_and_of_nobody_else() {
    let world = World::new().await;
    let there = world.in_region("eu-other-1");
    let mut expected = Vec::new();
    for key in [world.key().await, world.key().await] {
        granted(&world, &key, json!({"RetiringPrincipal": "arn:aws:iam::111122223333:root"})).await;
        granted(&world, &key, json!({})).await;
        let (id, _) = granted(&world, &key, json!({"RetiringPrincipal": ADA})).await;
        expected.push((key, id));
    }
    let elsewhere = super::create_grant::request(&there.key().await, json!({"RetiringPrincipal": ADA}));
    let elsewhere = crate::world::text(&there.ok("CreateGrant", elsewhere).await, "GrantId");
    expected.sort();
    let request = json!({"RetiringPrincipal": ADA});
    let ordered: Vec<_> = expected.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(ids(&world.ok("ListRetirableGrants", request.clone()).await), ordered);
    assert_eq!(ids(&there.ok("ListRetirableGrants", request).await), [elsewhere]);
    world.ok("RevokeGrant", json!({"KeyId": expected[0].0, "GrantId": expected[0].1})).await;
    assert_eq!(ids(&world.ok("ListRetirableGrants", json!({"RetiringPrincipal": ADA})).await), ordered[1..]);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(granted(&world, &world.key().await, json!({"RetiringPrincipal": ADA})).await.0);
    }
    let first = world.ok("ListRetirableGrants", json!({"RetiringPrincipal": ADA, "Limit": 2})).await;
    assert_eq!((ids(&first).len(), &first["Truncated"]), (2, &json!(true)));
    let request = json!({"RetiringPrincipal": ADA, "Marker": first["NextMarker"]});
    let rest = world.ok("ListRetirableGrants", request).await;
    assert_eq!((ids(&rest).len(), &rest["Truncated"]), (1, &json!(false)));
    let mut seen = [ids(&first), ids(&rest)].concat();
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
    let root = "arn:aws:iam::111122223333:root";
    for request in [
        json!({"RetiringPrincipal": root, "Marker": first["NextMarker"]}),
        json!({"RetiringPrincipal": ADA, "Marker": "junk"}),
    ] {
        world.refuse("ListRetirableGrants", request, "InvalidMarkerException", "").await;
    }
}

#[tokio::test]
async fn the_resource_is_the_principal() {
    let world = World::new().await;
    let statement = json!({"Effect": "Allow", "Action": "kms:ListRetirableGrants", "Resource": ADA});
    let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    let user = world.user([("p".to_owned(), policy)].into()).await;
    user.ok("ListRetirableGrants", json!({"RetiringPrincipal": ADA})).await;
    let eve = "arn:aws:iam::111122223333:user/eve";
    let message = format!(
        "User: {} is not authorized to perform: kms:ListRetirableGrants on resource: {eve} because no identity-based \
         policy allows the kms:ListRetirableGrants action",
        user.arn
    );
    user.refuse("ListRetirableGrants", json!({"RetiringPrincipal": eve}), "AccessDeniedException", &message).await;
}

#[tokio::test]
async fn a_principal_of_this_account() {
    let world = World::new().await;
    let foreign = json!({"RetiringPrincipal": "arn:aws:iam::444455556666:root"});
    assert_eq!(world.call("ListRetirableGrants", foreign).await.code(), "AccessDeniedException");
    let bad = json!({"RetiringPrincipal": "ada"});
    let message = "ARN does not refer to a valid principal: ada";
    world.refuse("ListRetirableGrants", bad, "InvalidArnException", message).await;
}
