//! UpdateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html>.

use serde_json::json;
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ALIAS, About, CHANGE, KEY, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "UpdateAlias",
    members: &[must("AliasName", ALIAS), must("TargetKeyId", KEY)],
    request: |things| json!({"AliasName": things.alias, "TargetKeyId": things.key}),
    about: About::Symmetric,
    key: Some(("TargetKeyId", Names::Target)),
    states: CHANGE,
};

#[tokio::test]
async fn the_alias_names_the_other_key_then() {
    let world = World::new().await;
    let (old, new) = (world.key().await, world.key().await);
    world.alias("alias/a", &old).await;
    let blob = world.encrypt("alias/a", b"x").await;
    let answer = world.call("UpdateAlias", json!({"AliasName": "alias/a", "TargetKeyId": new})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    assert_eq!(world.ok("DescribeKey", json!({"KeyId": "alias/a"})).await["KeyMetadata"]["KeyId"], new);
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    let by_alias = json!({"CiphertextBlob": blob, "KeyId": "alias/a"});
    assert_eq!(world.call("Decrypt", by_alias).await.code(), "IncorrectKeyException");
}

#[tokio::test]
async fn usage_and_class_stay_the_same() {
    let world = World::new().await;
    let (symmetric, rsa) = (world.key().await, world.rsa().await);
    let signs = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let rsa_4096 = world.plant(KeySpec::Rsa4096, KeyUsage::EncryptDecrypt).await;
    world.alias("alias/rsa", &rsa).await;
    let arn = world.arn_of("alias/rsa");
    for (key, usage) in [(&signs, "SIGN_VERIFY"), (&mac, "GENERATE_VERIFY_MAC")] {
        let message = format!(
            "Alias {arn} cannot be changed from a CMK with key usage ENCRYPT_DECRYPT to a CMK with key usage {usage}. \
             The key usage of the current CMK and the new CMK must be the same."
        );
        let request = json!({"AliasName": "alias/rsa", "TargetKeyId": key});
        world.refuse("UpdateAlias", request, "ValidationException", &message).await;
    }
    let request = |key: &str| json!({"AliasName": "alias/rsa", "TargetKeyId": key});
    assert_eq!(world.call("UpdateAlias", request(&symmetric)).await.code(), "ValidationException");
    world.ok("UpdateAlias", request(&rsa_4096)).await;
}

#[tokio::test]
async fn an_alias_that_is_not_there_is_told() {
    let world = World::new().await;
    let request = json!({"AliasName": "alias/none", "TargetKeyId": world.key().await});
    let message = format!("Alias {} is not found.", world.arn_of("alias/none"));
    world.refuse("UpdateAlias", request, "NotFoundException", &message).await;
}

#[tokio::test]
async fn an_old_key_that_is_pending_deletion_may_be_left() {
    let world = World::new().await;
    let (old, new) = (world.key().await, world.key().await);
    world.alias("alias/a", &old).await;
    world.set_state(&old, KeyState::PendingDeletion).await;
    world.ok("UpdateAlias", json!({"AliasName": "alias/a", "TargetKeyId": new})).await;
}

#[tokio::test]
async fn names_have_a_form_and_name_no_alias() {
    let world = World::new().await;
    let key = world.key().await;
    world.alias("alias/a", &key).await;
    for (name, target, code) in [
        ("a", &*key, "ValidationException"),
        ("alias/aws/s3", &*key, "NotAuthorizedException"),
        ("alias/a", "alias/a", "ValidationException"),
    ] {
        let request = json!({"AliasName": name, "TargetKeyId": target});
        assert_eq!(world.call("UpdateAlias", request).await.code(), code);
    }
}

#[tokio::test]
async fn the_fifty_aliases_of_the_new_key_count() {
    let world = World::new().await;
    let (old, full) = (world.key().await, world.key().await);
    for n in 0..50 {
        world.alias(&format!("alias/{n}"), &full).await;
    }
    world.alias("alias/a", &old).await;
    let request = json!({"AliasName": "alias/a", "TargetKeyId": full});
    assert_eq!(world.call("UpdateAlias", request).await.code(), "LimitExceededException");
    // Its own are where they are.
    world.ok("UpdateAlias", json!({"AliasName": "alias/0", "TargetKeyId": full})).await;
}

#[tokio::test]
async fn permission_is_needed_on_the_alias_and_on_both_keys() {
    let world = World::new().await;
    let (old, new) = (world.arn_of(&world.key().await), world.arn_of(&world.key().await));
    world.alias("alias/a", &old).await;
    let alias = world.arn_of("alias/a");
    for (resources, code) in [
        (vec![&alias, &old], "AccessDeniedException"),
        (vec![&alias, &new], "AccessDeniedException"),
        (vec![&old, &new], "AccessDeniedException"),
        (vec![&alias, &old, &new], ""),
    ] {
        let statement = json!({"Effect": "Allow", "Action": "kms:UpdateAlias", "Resource": resources});
        let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let user = world.user([("p".to_owned(), policy)].into()).await;
        let request = json!({"AliasName": "alias/a", "TargetKeyId": new});
        assert_eq!(user.call("UpdateAlias", request).await.code(), code);
    }
}
