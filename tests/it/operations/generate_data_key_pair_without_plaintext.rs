//! GenerateDataKeyPairWithoutPlaintext:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPairWithoutPlaintext.html>.

use expect_test::expect;
use serde_json::json;

use super::{
    About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE,
    generate_data_key_pair::{PAIR_SPEC, pair_specs, what_is_refused},
    may, must,
};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "GenerateDataKeyPairWithoutPlaintext",
    members: &[
        may("EncryptionContext", Kind::Context),
        must("KeyId", KEY),
        must("KeyPairSpec", PAIR_SPEC),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "KeyPairSpec": "ECC_NIST_EDWARDS25519"}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer_has_no_plaintext() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeyPairSpec": "ECC_NIST_EDWARDS25519"});
    world.check("GenerateDataKeyPairWithoutPlaintext", request, expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyMaterialId": "MATERIAL",
          "KeyPairSpec": "ECC_NIST_EDWARDS25519",
          "PrivateKeyCiphertextBlob": "127 bytes",
          "PublicKey": "44 bytes"
        }"#]]).await;
}

#[tokio::test]
async fn the_blob_opens_to_a_private_key() {
    let world = World::new().await;
    let key = world.key().await;
    for spec in pair_specs() {
        let made =
            world.ok("GenerateDataKeyPairWithoutPlaintext", json!({"KeyId": key, "KeyPairSpec": spec})).await;
        world.ok("Decrypt", json!({"CiphertextBlob": made["PrivateKeyCiphertextBlob"]})).await;
    }
}

#[tokio::test]
async fn other_keys_and_pairs() {
    what_is_refused("GenerateDataKeyPairWithoutPlaintext").await;
}
