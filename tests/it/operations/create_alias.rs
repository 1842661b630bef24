//! CreateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>.

use serde_json::json;

use super::{ALIAS, About, CHANGE, KEY, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "CreateAlias",
    members: &[must("AliasName", ALIAS), must("TargetKeyId", KEY)],
    request: |things| json!({"AliasName": things.new_alias, "TargetKeyId": things.key}),
    about: About::Symmetric,
    key: Some(("TargetKeyId", Names::Target)),
    states: CHANGE,
};

#[tokio::test]
async fn the_answer_is_empty_and_the_alias_names_the_key() {
    let world = World::new().await;
    let key = world.key().await;
    let answer = world.call("CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    assert_eq!(world.ok("DescribeKey", json!({"KeyId": "alias/a"})).await["KeyMetadata"]["KeyId"], key);
}

#[tokio::test]
async fn names_have_a_form() {
    let world = World::new().await;
    let key = world.key().await;
    let request = |name: &str| json!({"AliasName": name, "TargetKeyId": key});
    let prefix = "Alias must start with the prefix \"alias/\". Please see \
                  https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    for name in ["a", "Alias/a", "/alias/a", "aliases/a", "alias"] {
        world.refuse("CreateAlias", request(name), "ValidationException", prefix).await;
    }
    for name in ["alias/aws/s3", "alias/aws/"] {
        world.refuse("CreateAlias", request(name), "NotAuthorizedException", "").await;
    }
    let colon = "alias/a:b contains invalid characters for an alias";
    world.refuse("CreateAlias", request("alias/a:b"), "ValidationException", colon).await;
    assert_eq!(world.call("CreateAlias", request("alias/")).await.code(), "ValidationException");
    for name in ["alias/awsome", "alias/a/b_c-D9"] {
        world.ok("CreateAlias", request(name)).await;
    }
}

#[tokio::test]
async fn the_longest_name_is_256_characters() {
    let world = World::new().await;
    let name = format!("alias/{}", "a".repeat(250));
    world.alias(&name, &world.key().await).await;
    world.ok("DescribeKey", json!({"KeyId": name})).await;
}

#[tokio::test]
async fn a_name_is_given_once() {
    let world = World::new().await;
    let (one, other) = (world.key().await, world.key().await);
    world.alias("alias/a", &one).await;
    let taken = format!("An alias with the name {} already exists", world.arn_of("alias/a"));
    for key in [one, other] {
        let request = json!({"AliasName": "alias/a", "TargetKeyId": key});
        world.refuse("CreateAlias", request, "AlreadyExistsException", &taken).await;
    }
}

#[tokio::test]
async fn names_of_two_regions_do_not_meet() {
    let world = World::new().await;
    let there = world.in_region("eu-other-1");
    world.alias("alias/a", &world.key().await).await;
    there.alias("alias/a", &there.key().await).await;
}

#[tokio::test]
async fn an_alias_names_no_alias() {
    let world = World::new().await;
    world.alias("alias/a", &world.key().await).await;
    for target in ["alias/a".to_owned(), world.arn_of("alias/a")] {
        let request = json!({"AliasName": "alias/b", "TargetKeyId": target});
        assert_eq!(world.call("CreateAlias", request).await.code(), "ValidationException");
    }
}

#[tokio::test]
async fn a_key_has_fifty_aliases_at_most() {
    let world = World::new().await;
    let key = world.key().await;
    for n in 0..50 {
        world.alias(&format!("alias/{n}"), &key).await;
    }
    let request = json!({"AliasName": "alias/50", "TargetKeyId": key});
    assert_eq!(world.call("CreateAlias", request).await.code(), "LimitExceededException");
}

#[tokio::test]
async fn permission_is_needed_on_the_alias_and_on_the_key() {
    let world = World::new().await;
    let (key, alias) = (world.arn_of(&world.key().await), world.arn_of("alias/a"));
    for (resources, code) in [
        (vec![&key], "AccessDeniedException"),
        (vec![&alias], "AccessDeniedException"),
        (vec![&key, &alias], ""),
    ] {
        let statement = json!({"Effect": "Allow", "Action": "kms:CreateAlias", "Resource": resources});
        let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let user = world.user([("p".to_owned(), policy)].into()).await;
        let request = json!({"AliasName": "alias/a", "TargetKeyId": key});
        assert_eq!(user.call("CreateAlias", request).await.code(), code);
    }
}
