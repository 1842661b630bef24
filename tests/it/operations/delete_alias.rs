//! DeleteAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html>.

use serde_json::json;

use super::{ALIAS, ANY_STATE, About, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "DeleteAlias",
    members: &[must("AliasName", ALIAS)],
    request: |things| json!({"AliasName": things.alias}),
    about: About::Symmetric,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn the_alias_is_gone_and_the_key_stays() {
    let world = World::new().await;
    let key = world.key().await;
    world.alias("alias/a", &key).await;
    let answer = world.call("DeleteAlias", json!({"AliasName": "alias/a"})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let gone = format!("Alias {} is not found.", world.arn_of("alias/a"));
    world.refuse("DeleteAlias", json!({"AliasName": "alias/a"}), "NotFoundException", &gone).await;
    world.refuse("DescribeKey", json!({"KeyId": "alias/a"}), "NotFoundException", &gone).await;
    world.ok("DescribeKey", json!({"KeyId": key})).await;
}

#[tokio::test]
async fn the_name_is_free_again() {
    let world = World::new().await;
    world.alias("alias/a", &world.key().await).await;
    world.ok("DeleteAlias", json!({"AliasName": "alias/a"})).await;
    world.alias("alias/a", &world.key().await).await;
}

#[tokio::test]
async fn names_have_a_form() {
    let world = World::new().await;
    let prefix = "Alias must start with the prefix \"alias/\". Please see \
                  https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    world.refuse("DeleteAlias", json!({"AliasName": "a"}), "ValidationException", prefix).await;
    world.refuse("DeleteAlias", json!({"AliasName": "alias/aws/s3"}), "NotAuthorizedException", "").await;
}

#[tokio::test]
async fn permission_is_needed_on_the_alias_and_on_the_key() {
    let world = World::new().await;
    let key = world.arn_of(&world.key().await);
    world.alias("alias/a", &key).await;
    let alias = world.arn_of("alias/a");
    for (resources, code) in [
        (vec![&key], "AccessDeniedException"),
        (vec![&alias], "AccessDeniedException"),
        (vec![&key, &alias], ""),
    ] {
        let statement = json!({"Effect": "Allow", "Action": "kms:DeleteAlias", "Resource": resources});
        let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let user = world.user([("p".to_owned(), policy)].into()).await;
        assert_eq!(user.call("DeleteAlias", json!({"AliasName": "alias/a"})).await.code(), code);
    }
}
