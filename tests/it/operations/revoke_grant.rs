//! RevokeGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html>.

use serde_json::json;

use super::{
    ANY_STATE, About, GRANT_ID, KEY, Kind, Names, Subject,
    create_grant::{granted, grants_of},
    may, must,
};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "RevokeGrant",
    members: &[must("KeyId", KEY), must("GrantId", GRANT_ID), may("DryRun", Kind::Bool)],
    request: |things| json!({"KeyId": things.key, "GrantId": things.grant}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

#[tokio::test]
async fn the_answer_is_empty_and_the_grant_gone() {
    let world = World::new().await;
    let key = world.key().await;
    let (one, _) = granted(&world, &key, json!({})).await;
    let (other, _) = granted(&world, &key, json!({})).await;
    let request = json!({"KeyId": key, "GrantId": one});
    let answer = world.call("RevokeGrant", request.clone()).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    assert_eq!(answer.records[0]["additionalEventData"]["grantId"], one);
    assert_eq!(grants_of(&world, &key).await, [other]);
    let message = format!("Grant ID {one} not found");
    world.refuse("RevokeGrant", request, "NotFoundException", &message).await;
}

#[tokio::test]
async fn a_grant_is_found_with_its_own_key_only() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    let (id, _) = granted(&world, &key, json!({})).await;
    let message = format!("Grant ID {id} not found");
    world.refuse("RevokeGrant", json!({"KeyId": other, "GrantId": id}), "NotFoundException", &message).await;
    for bad in ["x", &id[1..], &id.to_uppercase()] {
        world.refuse("RevokeGrant", json!({"KeyId": key, "GrantId": bad}), "InvalidGrantIdException", "").await;
    }
}

#[tokio::test]
async fn a_dry_run_revokes_nothing() {
    let world = World::new().await;
    let key = world.key().await;
    let (id, _) = granted(&world, &key, json!({})).await;
    let request = json!({"KeyId": key, "GrantId": id, "DryRun": true});
    assert_eq!(world.call("RevokeGrant", request).await.code(), "DryRunOperationException");
    assert_eq!(grants_of(&world, &key).await, [id]);
}

#[tokio::test]
async fn a_grant_made_in_another_process_is_found_at_once() {
    let world = World::new().await;
    let key = world.key().await;
    let (id, _) = granted(&world.neighbour().await, &key, json!({})).await;
    world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": id})).await;
}
