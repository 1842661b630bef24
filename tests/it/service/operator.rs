//! What an operator does beside the API, and the record that it leaves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::{ACCOUNT, World};

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:GenerateRandom","Resource":"*"}]}"#;

fn arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

#[tokio::test]
async fn every_verb_that_changes_something_leaves_one_record_of_who_did_what() {
    let world = World::new().await;
    let before = world.operator_records().await.len();
    let admin = &world.admin;
    let principal = arn("app");
    admin.create_principal("app", BTreeMap::new()).await.unwrap();
    let id = world.access_key("app").await;
    assert_eq!(admin.attach_policy("app", "use", POLICY).await.unwrap(), None);
    assert_eq!(
        admin.attach_policy("app", "use", POLICY).await.unwrap().as_deref(),
        Some(POLICY),
        "which changes nothing"
    );
    admin.detach_policy("app", "use").await.unwrap();
    admin.disable_access_key(&id).await.unwrap();
    admin.delete_access_key(&id).await.unwrap();
    admin.delete_principal("app").await.unwrap();
    admin.record("InitHsm", json!({"hsm": "first"}), None).await.unwrap();
    admin.record("InitHsm", json!({"hsm": "first"}), Some("it is full")).await.unwrap();

    let records = world.operator_records().await.split_off(before);
    let named =
        |record: &Value| (record["eventName"].as_str().unwrap().to_owned(), record["requestParameters"].clone());
    let expected = [
        ("CreatePrincipal", json!({"principal": principal, "policies": {}})),
        ("CreateAccessKey", json!({"principal": principal, "accessKeyId": id})),
        ("AttachPolicy", json!({"principal": principal, "policyName": "use", "policyDocument": POLICY})),
        ("DetachPolicy", json!({"principal": principal, "policyName": "use"})),
        ("DisableAccessKey", json!({"accessKeyId": id})),
        ("DeleteAccessKey", json!({"accessKeyId": id})),
        ("DeletePrincipal", json!({"principal": principal})),
        ("InitHsm", json!({"hsm": "first"})),
        ("InitHsm", json!({"hsm": "first"})),
    ];
    assert_eq!(records.iter().map(named).collect::<Vec<_>>(), expected.map(|(name, said)| (name.to_owned(), said)));
    let person =
        json!({"type": "Operator", "accountId": ACCOUNT, "userId": 1000, "userName": "ada", "loginUserId": 1000});
    assert!(
        records.iter().all(|record| record["userIdentity"] == person && record["readOnly"] == false),
        "{records:?}"
    );
    assert_eq!(records[8]["errorMessage"], "it is full");
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_leaves_no_record() {
    let world = World::new().await;
    let admin = &world.admin;
    admin.create_principal("app", BTreeMap::new()).await.unwrap();
    let id = world.access_key("app").await;
    let before = world.operator_records().await.len();
    let no_policies = BTreeMap::new;
    for (refused, why) in [
        (admin.create_principal("app", no_policies()).await.map(drop), "already exists"),
        (admin.create_principal("App", no_policies()).await.map(drop), "already exists"),
        (admin.create_principal("team/app", no_policies()).await.map(drop), "already exists"),
        (admin.create_principal("a*", no_policies()).await.map(drop), "`a*` is no name for a principal"),
        (admin.create_principal("", no_policies()).await.map(drop), "is not the ARN of"),
        (admin.attach_policy("app", "a b", POLICY).await.map(drop), "`a b` is no name for a policy"),
        (admin.attach_policy("app", "use", "{").await.map(drop), "MalformedPolicyDocument"),
        (admin.attach_policy("nobody", "use", POLICY).await.map(drop), "does not exist"),
        (admin.detach_policy("nobody", "use").await, "does not exist"),
        (admin.detach_policy("app", "use").await, "has no policy use"),
        (admin.delete_principal("nobody").await.map(drop), "does not exist"),
        (admin.delete_principal("app").await.map(drop), id.as_str()),
        (admin.disable_access_key("AKIANOBODY").await, "there is no access key AKIANOBODY"),
        (admin.delete_access_key("AKIANOBODY").await, "there is no access key AKIANOBODY"),
        (admin.confirm_clock().await.map(drop), ""),
    ] {
        assert!(
            refused.as_ref().err().map_or(why.is_empty(), |error| error.to_string().contains(why)),
            "{why}: {refused:?}"
        );
    }
    assert_eq!(world.operator_records().await.len(), before);
    let (summary, policies) = admin.show_principal("app").unwrap();
    assert_eq!((summary.access_keys, policies), (vec![id], Vec::new()));
}

#[tokio::test]
async fn the_last_day_on_which_an_access_key_signed_is_known_and_the_call_writes_nothing_for_it() {
    let world = World::new().await;
    let caller = world.as_user(&["kms:GenerateRandom"]).await;
    let last_used = async || {
        let keys = world.admin.access_keys().await.unwrap();
        keys.into_iter().find(|key| key.id == caller.access_key_id).unwrap().last_used
    };
    let mut forged = caller.draft("GenerateRandom", json!({"NumberOfBytes": 1}).to_string());
    forged.forged = true;
    caller.send(forged).await;
    world.work().await;
    assert_eq!(last_used().await, None, "who forges a signature has not signed");
    for (pass_days, day) in [(0, "2026-01-01"), (0, "2026-01-01"), (2, "2026-01-03")] {
        world.clock.advance(std::time::Duration::from_secs(pass_days * 24 * 60 * 60));
        caller.ok("GenerateRandom", json!({"NumberOfBytes": 1})).await;
        world.work().await;
        assert_eq!(last_used().await.as_deref(), Some(day));
    }
    world.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    world.work().await;
    assert_eq!(last_used().await.as_deref(), Some("2026-01-03"));
}
