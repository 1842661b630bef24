//! CreateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>.

use serde_json::{Value, json};
use strongroom::key::spec::KeySpec;

use super::{About, ANY_STATE, Kind, POLICY, Subject, may};
use crate::{
    structures::{key_metadata, multi_region_configuration, rsa_key_metadata},
    world::{ACCOUNT, Keeping, World, hsm, text},
};

const SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
const USAGES: &[&str] =
    &["SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"];
const ORIGINS: &[&str] = &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];

pub const SUBJECT: Subject = Subject {
    name: "CreateKey",
    members: &[
        may("Policy", POLICY),
        may("Description", Kind::Text(0, 8192)),
        may("KeyUsage", Kind::Word(USAGES)),
        may("CustomerMasterKeySpec", Kind::Word(SPECS)),
        may("KeySpec", Kind::Word(SPECS)),
        may("Origin", Kind::Word(ORIGINS)),
        may("CustomKeyStoreId", Kind::Text(1, 64)),
        may("BypassPolicyLockoutSafetyCheck", Kind::Bool),
        may("Tags", Kind::Tags),
        may("MultiRegion", Kind::Bool),
        may("XksKeyId", Kind::Pattern(1, 128, 'a', "^[a-zA-Z0-9-_.]+$")),
    ],
    request: |_| json!({}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn without_members_it_is_symmetric() {
    let made = json!({"KeyMetadata": key_metadata(json!({}))});
    World::new().await.check_only("CreateKey", json!({}), made).await;
}

#[tokio::test]
async fn every_member_is_taken() {
    let world = World::new().await;
    let request = json!({
        "Description": "a description", "KeyUsage": "ENCRYPT_DECRYPT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Origin": "AWS_KMS", "BypassPolicyLockoutSafetyCheck": true, "MultiRegion": true,
        "Tags": [{"TagKey": "k", "TagValue": "v"}],
    });
    let made = key_metadata(json!({
        "Description": "a description",
        "MultiRegion": true,
        "MultiRegionConfiguration": multi_region_configuration("PRIMARY", &[]),
    }));
    world.check_only("CreateKey", request, json!({"KeyMetadata": made})).await;
}

#[tokio::test]
async fn an_rsa_key_encrypts() {
    let request = json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"});
    World::new().await.check_only("CreateKey", request, json!({"KeyMetadata": rsa_key_metadata()})).await;
}

#[tokio::test]
async fn where_the_material_is_kept_is_not_told() {
    for request in [json!({}), json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})] {
        let (wrapped, token) = (World::new().await, World::build().keeping(Keeping::Token).open().await);
        assert_eq!(wrapped.masked("CreateKey", request.clone()).await, token.masked("CreateKey", request).await);
    }
}

#[tokio::test]
async fn ids_are_random() {
    let world = World::new().await;
    assert_ne!(world.key().await, world.key().await);
    let multi_region = world.ok("CreateKey", json!({"MultiRegion": true})).await;
    let id = text(&multi_region["KeyMetadata"], "KeyId");
    assert!(id.starts_with("mrk-") && id.len() == 36, "{id}");
}

#[tokio::test]
async fn usage_goes_with_spec() {
    let world = World::new().await;
    let must = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.";
    for spec in SPECS.iter().filter(|spec| **spec != "SYMMETRIC_DEFAULT") {
        world.refuse("CreateKey", json!({"KeySpec": spec}), "ValidationException", must).await;
    }
    for (spec, usage) in [
        ("RSA_2048", "KEY_AGREEMENT"),
        ("SYMMETRIC_DEFAULT", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "ENCRYPT_DECRYPT"),
        ("HMAC_256", "ENCRYPT_DECRYPT"),
        ("ECC_SECG_P256K1", "KEY_AGREEMENT"),
        ("ML_DSA_44", "ENCAPSULATE_DECAPSULATE"),
        ("ML_KEM_512", "SIGN_VERIFY"),
    ] {
        let message = format!("KeyUsage {usage} is not compatible with KeySpec {spec}");
        world.refuse("CreateKey", json!({"KeySpec": spec, "KeyUsage": usage}), "ValidationException", &message).await;
    }
}

#[tokio::test]
async fn what_the_hsm_cannot_do_is_unsupported() {
    let world = World::new().await;
    let (mut made, mut refused) = (0, 0);
    for spec in KeySpec::ALL {
        for usage in spec.usages() {
            let request = json!({"KeySpec": spec, "KeyUsage": usage});
            match hsm().supports(*spec, *usage).unwrap() {
                // Longer RSA keys take seconds to make.
                true if matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096) => {}
                true => {
                    world.ok("CreateKey", request).await;
                    made += 1;
                }
                false => {
                    let answer = world.call("CreateKey", request).await;
                    assert_eq!(answer.code(), "UnsupportedOperationException", "{spec} {usage}");
                    refused += 1;
                }
            }
        }
    }
    println!("key specs × usages: {made} made, {refused} refused, as the HSM's profile says");
    assert!(refused >= 3, "SM2 is China's");
    assert_eq!(world.ok("ListKeys", json!({})).await["Keys"].as_array().unwrap().len(), made);
}

#[tokio::test]
async fn sm2_is_chinas() {
    let world = World::new().await;
    for usage in ["ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"] {
        let request = json!({"KeySpec": "SM2", "KeyUsage": usage});
        let message = "KeySpec SM2 is not supported in this Region";
        world.refuse("CreateKey", request, "UnsupportedOperationException", message).await;
    }
}

#[tokio::test]
async fn two_specs_are_one_too_many() {
    let both = "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is \
                deprecated.";
    let request = json!({"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"});
    World::new().await.refuse("CreateKey", request, "ValidationException", both).await;
}

#[tokio::test]
async fn other_origins_and_key_stores_are_refused() {
    let world = World::new().await;
    let external = json!({"Origin": "EXTERNAL", "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"});
    assert_eq!(world.call("CreateKey", external).await.code(), "UnsupportedOperationException");
    let external = json!({"Origin": "EXTERNAL", "CustomKeyStoreId": "cks-0123456789abcdef0"});
    assert_eq!(world.call("CreateKey", external).await.code(), "ValidationException");
    let external = json!({"Origin": "EXTERNAL_KEY_STORE"});
    let message = "External key stores are not supported.";
    world.refuse("CreateKey", external, "UnsupportedOperationException", message).await;
    let store = json!({"CustomKeyStoreId": "cks-0123456789abcdef0"});
    world.refuse("CreateKey", store, "CustomKeyStoreNotFoundException", "").await;
    assert_eq!(world.call("CreateKey", json!({"XksKeyId": "x"})).await.code(), "ValidationException");
}

fn tags(count: usize) -> Value {
    (0..count).map(|n| json!({"TagKey": n.to_string(), "TagValue": ""})).collect()
}

#[tokio::test]
async fn tags_are_as_tag_resource_takes_them() {
    let world = World::new().await;
    let tag = |key: &str| json!({"TagKey": key, "TagValue": ""});
    for (tags, message) in [
        (json!([tag("a"), tag("a")]), "Duplicate tag keys"),
        (tags(51), "Too many tags"),
        (json!([tag("AWS:x")]), "Tags beginning with aws: are reserved"),
    ] {
        world.refuse("CreateKey", json!({"Tags": tags}), "TagException", message).await;
    }
    world.ok("CreateKey", json!({"Tags": tags(50)})).await;
}

#[tokio::test]
async fn tags_need_a_permission_of_their_own() {
    let world = World::new().await;
    let user = world.as_user(&["kms:CreateKey"]).await;
    user.ok("CreateKey", json!({"Tags": []})).await;
    let denied = format!(
        "User: {} is not authorized to perform: kms:TagResource on resource: * because no identity-based policy allows \
         the kms:TagResource action",
        user.arn
    );
    user.refuse("CreateKey", json!({"Tags": tags(1)}), "AccessDeniedException", &denied).await;
}

#[tokio::test]
async fn a_policy_must_leave_its_author_in_control() {
    let world = World::new().await;
    let allow = |principal: &str, action: &str| {
        let statement =
            json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*"});
        json!({"Version": "2012-10-17", "Statement": statement}).to_string()
    };
    let locked_out = "The new key policy will not allow you to update the key policy in the future.";
    let policy = allow(&world.arn, "kms:Encrypt");
    let request = json!({"Policy": policy});
    world.refuse("CreateKey", request, "MalformedPolicyDocumentException", locked_out).await;
    world.ok("CreateKey", json!({"Policy": policy, "BypassPolicyLockoutSafetyCheck": true})).await;
    world.ok("CreateKey", json!({"Policy": allow(&world.arn, "kms:Put*")})).await;
    world.ok("CreateKey", json!({"Policy": allow(ACCOUNT, "kms:*")})).await;
}

#[tokio::test]
async fn a_policy_has_32_kilobytes() {
    let world = World::new().await;
    for (length, code) in [(32_768, "MalformedPolicyDocumentException"), (32_769, "LimitExceededException")] {
        let answer = world.call("CreateKey", json!({"Policy": "a".repeat(length)})).await;
        assert_eq!(answer.code(), code);
    }
}

#[tokio::test]
async fn wrong_usage_is_told_before_wrong_tags_and_those_before_a_wrong_policy() {
    let world = World::new().await;
    let request = json!({"KeySpec": "RSA_2048", "Tags": tags(51), "Policy": "x"});
    assert_eq!(world.call("CreateKey", request).await.code(), "ValidationException");
    let request = json!({"Tags": tags(51), "Policy": "x"});
    assert_eq!(world.call("CreateKey", request).await.code(), "TagException");
    let nobody = world.as_user(&[]).await;
    assert_eq!(nobody.call("CreateKey", json!({"Tags": tags(51)})).await.code(), "AccessDeniedException");
}
