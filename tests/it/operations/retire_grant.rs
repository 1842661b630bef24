//! RetireGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html>.

use serde_json::json;

use super::{
    ANY_STATE, About, GRANT_ID, KEY, Kind, Names, Subject,
    create_grant::{granted, grants_of},
    may,
};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "RetireGrant",
    members: &[
        may("GrantToken", Kind::Text(1, 8192)),
        may("KeyId", KEY),
        may("GrantId", GRANT_ID),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "GrantId": things.grant}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

const EITHER: &str = "Please specify either a grant token, or a key ID and a grant ID.";

#[tokio::test]
async fn by_its_ids_or_by_any_token() {
    let world = World::new().await;
    let key = world.key().await;
    let named = json!({"Name": "n"});
    for by in 0..3 {
        let (id, first) = granted(&world, &key, named.clone()).await;
        let (_, second) = granted(&world, &key, named.clone()).await;
        let request = match by {
            0 => json!({"KeyId": key, "GrantId": id}),
            1 => json!({"GrantToken": first}),
            _ => json!({"GrantToken": second}),
        };
        let dry = crate::world::with(request.clone(), json!({"DryRun": true}));
        assert_eq!(world.call("RetireGrant", dry).await.code(), "DryRunOperationException");
        assert_eq!(grants_of(&world, &key).await, vec![id.clone()]);
        let answer = world.call("RetireGrant", request).await;
        assert_eq!((answer.status, answer.text()), (200, String::new()));
        let record = &answer.records[0];
        assert_eq!((&record["additionalEventData"]["grantId"], &record["resources"][0]["ARN"]), (&json!(id), &json!(world.arn_of(&key))));
        assert!(grants_of(&world, &key).await.is_empty());
        // What is gone is not found again, by either.
        for token in [first, second] {
            world.refuse("RetireGrant", json!({"GrantToken": token}), "InvalidGrantTokenException", "").await;
        }
        let (request, message) = (json!({"KeyId": key, "GrantId": id}), format!("Grant ID {id} not found"));
        world.refuse("RetireGrant", request, "NotFoundException", &message).await;
    }
}

#[tokio::test]
async fn exactly_one_of_the_two_ways() {
    let world = World::new().await;
    let key = world.key().await;
    let (id, token) = granted(&world, &key, json!({})).await;
    for request in [
        json!({}),
        json!({"KeyId": key}),
        json!({"GrantId": id}),
        json!({"GrantToken": token, "KeyId": key}),
        json!({"GrantToken": token, "KeyId": key, "GrantId": id}),
    ] {
        world.refuse("RetireGrant", request, "ValidationException", EITHER).await;
    }
    world.refuse("RetireGrant", json!({"KeyId": key, "GrantId": "x"}), "InvalidGrantIdException", "").await;
    world.refuse("RetireGrant", json!({"GrantToken": "junk"}), "InvalidGrantTokenException", "").await;
    let there = world.in_region("eu-other-1");
    there.refuse("RetireGrant", json!({"GrantToken": token}), "InvalidGrantTokenException", "").await;
}

#[tokio::test]
async fn who_may() {
    let world = World::new().await;
    let ops = "arn:aws:iam::111122223333:role/path/Ops";
    let retires = world.as_user(&["kms:RetireGrant"]).await;
    let (ada, eve) = (world.as_user(&[]).await, world.as_user(&[]).await);
    let session = world.principal("arn:aws:sts::111122223333:assumed-role/Ops/monday", Default::default()).await;
    let root = world.principal("arn:aws:iam::111122223333:root", Default::default()).await;
    let with_retire = json!(["Encrypt", "RetireGrant"]);
    for (terms, caller, may) in [
        (json!({"RetiringPrincipal": ada.arn}), &ada, true),
        (json!({"RetiringPrincipal": ada.arn}), &eve, false),
        (json!({"RetiringPrincipal": ops}), &session, true),
        (json!({"RetiringPrincipal": root.arn}), &eve, false),
        (json!({"RetiringPrincipal": root.arn}), &retires, true),
        (json!({"GranteePrincipal": ada.arn}), &ada, false),
        (json!({"GranteePrincipal": ada.arn, "Operations": with_retire}), &ada, true),
        (json!({"GranteePrincipal": ops, "Operations": with_retire}), &session, true),
        (json!({"GranteePrincipal": root.arn, "Operations": with_retire}), &eve, false),
        (json!({}), &root, true),
        (json!({}), &retires, true),
        (json!({}), &eve, false),
    ] {
        let key = world.key().await;
        let (id, token) = granted(&world, &key, terms.clone()).await;
        let expected = if may { "DryRunOperationException" } else { "AccessDeniedException" };
        for request in [json!({"GrantToken": token, "DryRun": true}), json!({"KeyId": key, "GrantId": id, "DryRun": true})] {
            assert_eq!(caller.call("RetireGrant", request).await.code(), expected, "{terms} {}", caller.arn);
        }
    }
}

#[tokio::test]
async fn a_key_policy_denies_and_does_not_allow_it() {
    let world = World::new().await;
    let (ada, key) = (world.as_user(&[]).await, world.key().await);
    let statement = |effect: &str| json!([{"Effect": effect, "Principal": {"AWS": ada.arn}, "Action": "kms:RetireGrant", "Resource": "*"}]);
    let (id, _) = granted(&world, &key, json!({})).await;
    world.set_policy(&key, statement("Allow")).await;
    let request = json!({"KeyId": key, "GrantId": id});
    let message = format!(
        "User: {} is not authorized to perform: kms:RetireGrant on resource: {} because no identity-based policy allows \
         the kms:RetireGrant action",
        ada.arn,
        world.arn_of(&key)
    );
    ada.refuse("RetireGrant", request, "AccessDeniedException", &message).await;
    let (id, _) = granted(&world, &key, json!({"RetiringPrincipal": ada.arn})).await;
    world.set_policy(&key, statement("Deny")).await;
    let request = json!({"KeyId": key, "GrantId": id});
    let (_, code, message) = ada.call("RetireGrant", request).await.refusal();
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("with an explicit deny in a resource-based policy"), "{message}");
}
