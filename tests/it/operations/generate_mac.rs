//! GenerateMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html>.

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, generate_data_key::decoded, may, must};
use crate::world::{Keeping, World, base64, with};

pub const MAC: Kind = Kind::Word(&["HMAC_SHA_256", "HMAC_SHA_224", "HMAC_SHA_384", "HMAC_SHA_512"]);

pub const SUBJECT: Subject = Subject {
    name: "GenerateMac",
    members: &[
        must("Message", Kind::Plaintext),
        must("KeyId", KEY),
        must("MacAlgorithm", MAC),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| {
        json!({"KeyId": things.key, "Message": base64(b"a message"), "MacAlgorithm": "HMAC_SHA_256"})
    },
    about: About::Mac,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

/// Spec, algorithm, and length of a MAC.
pub const SPECS: [(KeySpec, &str, usize); 4] = [
    (KeySpec::Hmac224, "HMAC_SHA_224", 28),
    (KeySpec::Hmac256, "HMAC_SHA_256", 32),
    (KeySpec::Hmac384, "HMAC_SHA_384", 48),
    (KeySpec::Hmac512, "HMAC_SHA_512", 64),
];

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Hmac384, KeyUsage::GenerateVerifyMac).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "MacAlgorithm": "HMAC_SHA_384"});
    world.check("GenerateMac", request, expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "Mac": "48 bytes",
          "MacAlgorithm": "HMAC_SHA_384"
        }"#]]).await;
}

#[tokio::test]
async fn a_mac_is_whole_and_the_same_each_time_and_after_a_restart() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let mut world = World::build().keeping(keeping).open().await;
        for (spec, algorithm, bytes) in SPECS {
            let made = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": "GENERATE_VERIFY_MAC"})).await;
            let request =
                json!({"KeyId": made["KeyMetadata"]["KeyId"], "Message": base64(&[7; 4096]), "MacAlgorithm": algorithm});
            let one = world.ok("GenerateMac", request.clone()).await;
            assert_eq!(decoded(&one, "Mac"), bytes);
            assert_eq!(world.ok("GenerateMac", request.clone()).await, one);
            world = world.reopened().await;
            assert_eq!(world.ok("GenerateMac", request.clone()).await, one);
            let other = world.ok("GenerateMac", with(request, json!({"Message": base64(&[8; 4096])}))).await;
            assert_ne!(one["Mac"], other["Mac"]);
        }
    }
}

/// Keys and algorithms that do not go together.
pub async fn other_keys(operation: &str, more: Value) {
    let world = World::new().await;
    let request = |key: &str, algorithm: &str| {
        with(json!({"KeyId": key, "Message": base64(b"m"), "MacAlgorithm": algorithm}), more.clone())
    };
    for (spec, ..) in SPECS {
        let key = world.plant(spec, KeyUsage::GenerateVerifyMac).await;
        for (other, algorithm, _) in SPECS {
            if spec != other {
                let message = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
                world.refuse(operation, request(&key, algorithm), "InvalidKeyUsageException", &message).await;
            }
        }
    }
    let key = world.key().await;
    let message = format!("{} key usage is ENCRYPT_DECRYPT which is not valid for {operation}.", world.arn_of(&key));
    world.refuse(operation, request(&key, "HMAC_SHA_256"), "InvalidKeyUsageException", &message).await;
}

#[tokio::test]
async fn the_key_must_fit() {
    other_keys("GenerateMac", json!({})).await;
}
