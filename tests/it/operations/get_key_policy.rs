//! GetKeyPolicy: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html>.

use expect_test::expect;
use serde_json::json;

use super::{ANY_STATE, About, KEY, Names, Subject, may, must};
use crate::world::{World, text};

pub const SUBJECT: Subject = Subject {
    name: "GetKeyPolicy",
    members: &[must("KeyId", KEY), may("PolicyName", super::POLICY_NAME)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

#[tokio::test]
async fn the_default_policy_leaves_all_to_the_account() {
    let world = World::new().await;
    let answer = world.ok("GetKeyPolicy", json!({"KeyId": world.key().await})).await;
    assert_eq!(answer["PolicyName"], "default");
    let expected = expect![[r#"
        {
          "Version" : "2012-10-17",
          "Id" : "key-default-1",
          "Statement" : [ {
            "Sid" : "Enable IAM User Permissions",
            "Effect" : "Allow",
            "Principal" : {
              "AWS" : "arn:aws:iam::111122223333:root"
            },
            "Action" : "kms:*",
            "Resource" : "*"
          } ]
        }"#]];
    expected.assert_eq(&text(&answer, "Policy"));
}

#[tokio::test]
async fn there_is_one_policy() {
    let world = World::new().await;
    let key = world.key().await;
    let answer = world.ok("GetKeyPolicy", json!({"KeyId": key, "PolicyName": "default"})).await;
    assert_eq!(answer.as_object().unwrap().len(), 2);
    for name in ["Default", "other", "AWS_RAM"] {
        let request = json!({"KeyId": key, "PolicyName": name});
        world.refuse("GetKeyPolicy", request, "NotFoundException", "No such policy exists").await;
    }
}

#[tokio::test]
async fn a_policy_is_laid_out_anew() {
    let world = World::new().await;
    let key = world.key().await;
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:*"],"Resource":"*"}}"#;
    world.ok("PutKeyPolicy", json!({"KeyId": key, "Policy": policy})).await;
    let expected = expect![[r#"
        {
          "Version" : "2012-10-17",
          "Statement" : {
            "Effect" : "Allow",
            "Principal" : {
              "AWS" : "111122223333"
            },
            "Action" : [ "kms:*" ],
            "Resource" : "*"
          }
        }"#]];
    expected.assert_eq(&text(&world.ok("GetKeyPolicy", json!({"KeyId": key})).await, "Policy"));
}
