//! PutKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>.

use serde_json::{Value, json};

use super::{ANY_STATE, About, KEY, Kind, Names, POLICY, POLICY_NAME, Subject, may, must};
use crate::world::{ACCOUNT, World, text};

const ROOT: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}}"#;

pub const SUBJECT: Subject = Subject {
    name: "PutKeyPolicy",
    members: &[
        must("KeyId", KEY),
        may("PolicyName", POLICY_NAME),
        must("Policy", POLICY),
        may("BypassPolicyLockoutSafetyCheck", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "Policy": ROOT}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

fn policy(statements: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

#[tokio::test]
async fn the_answer_is_empty_and_the_policy_is_the_keys() {
    let world = World::new().await;
    let key = world.key().await;
    let answer = world.call("PutKeyPolicy", json!({"KeyId": key, "Policy": ROOT})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let stored = text(&world.ok("GetKeyPolicy", json!({"KeyId": key})).await, "Policy");
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), serde_json::from_str::<Value>(ROOT).unwrap());
}

#[tokio::test]
async fn it_decides_from_then_on() {
    let world = World::new().await;
    let key = world.key().await;
    let user = world.as_user(&[]).await;
    let describe = json!({"KeyId": key});
    assert_eq!(user.call("DescribeKey", describe.clone()).await.code(), "AccessDeniedException");
    let allow = json!({
        "Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "kms:DescribeKey", "Resource": "*",
    });
    world.set_policy(&key, json!([allow])).await;
    user.ok("DescribeKey", describe.clone()).await;
    world.set_policy(&key, json!([])).await;
    assert_eq!(user.call("DescribeKey", describe).await.code(), "AccessDeniedException");
}

#[tokio::test]
async fn a_key_policy_that_does_not_name_the_account_shuts_identity_policies_out() {
    let world = World::new().await;
    let key = world.key().await;
    let owner = world.as_user(&["kms:*"]).await;
    let only = json!({"Effect": "Allow", "Principal": {"AWS": owner.arn}, "Action": "kms:*", "Resource": "*"});
    owner.ok("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(only)})).await;
    let denied = format!(
        "User: {} is not authorized to perform: kms:DescribeKey on resource: {} because no resource-based policy allows \
         the kms:DescribeKey action",
        world.arn,
        world.arn_of(&key)
    );
    world.refuse("DescribeKey", json!({"KeyId": key}), "AccessDeniedException", &denied).await;
    owner.ok("DescribeKey", json!({"KeyId": key})).await;
}

#[tokio::test]
async fn there_is_one_policy_to_put() {
    let world = World::new().await;
    let key = world.key().await;
    let request = |name: &str| json!({"KeyId": key, "Policy": ROOT, "PolicyName": name});
    world.ok("PutKeyPolicy", request("default")).await;
    world.refuse("PutKeyPolicy", request("other"), "UnsupportedOperationException", "").await;
    let ram = "The AWS_RAM policy can only be managed by the RAM service";
    world.refuse("PutKeyPolicy", request("AWS_RAM"), "ValidationException", ram).await;
}

#[tokio::test]
async fn its_author_must_keep_control() {
    let world = World::new().await;
    let key = world.key().await;
    let encrypt = json!({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:Encrypt", "Resource": "*"});
    let request = json!({"KeyId": key, "Policy": policy(encrypt.clone())});
    let locked_out = "The new key policy will not allow you to update the key policy in the future.";
    world.refuse("PutKeyPolicy", request, "MalformedPolicyDocumentException", locked_out).await;
    let bypass = json!({"KeyId": key, "Policy": policy(encrypt), "BypassPolicyLockoutSafetyCheck": true});
    world.ok("PutKeyPolicy", bypass).await;
    let again = json!({"KeyId": key, "Policy": ROOT});
    assert_eq!(world.call("PutKeyPolicy", again).await.code(), "AccessDeniedException");
}

#[tokio::test]
async fn what_is_no_policy_is_malformed() {
    let world = World::new().await;
    let key = world.key().await;
    let allow = |more: Value| {
        let mut statement =
            json!({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"});
        statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        policy(statement)
    };
    for policy in [
        "x".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        allow(json!({"Effect": "Maybe"})),
        allow(json!({"Unknown": 1})),
        allow(json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}})),
        ROOT.replace("2012-10-17", "2020-01-01"),
    ] {
        let answer = world.call("PutKeyPolicy", json!({"KeyId": key, "Policy": policy})).await;
        assert_eq!(answer.code(), "MalformedPolicyDocumentException", "{policy}");
    }
    let principals = "Policy contains a statement with one or more invalid principals.";
    let group = allow(json!({"Principal": {"AWS": "arn:aws:iam::111122223333:group/g"}}));
    let request = json!({"KeyId": key, "Policy": group});
    world.refuse("PutKeyPolicy", request, "MalformedPolicyDocumentException", principals).await;
}

#[tokio::test]
async fn a_policy_has_32_kilobytes() {
    let world = World::new().await;
    let key = world.key().await;
    let padded = |length: usize| format!("{ROOT}{}", " ".repeat(length - ROOT.len()));
    world.ok("PutKeyPolicy", json!({"KeyId": key, "Policy": padded(32_768)})).await;
    let longer = json!({"KeyId": key, "Policy": padded(32_769)});
    assert_eq!(world.call("PutKeyPolicy", longer).await.code(), "LimitExceededException");
}
