//! GenerateDataKeyWithoutPlaintext: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html>.

use expect_test::expect;
use serde_json::json;

use super::{
    About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE,
    generate_data_key::{decoded, lengths_are_said_once, only_symmetric_keys_make_data_keys},
    may, must,
};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "GenerateDataKeyWithoutPlaintext",
    members: &[
        must("KeyId", KEY),
        may("EncryptionContext", Kind::Context),
        may("KeySpec", Kind::Word(&["AES_256", "AES_128"])),
        may("NumberOfBytes", Kind::Int(1, 1024)),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "KeySpec": "AES_256", "NumberOfBytes": null}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer_has_no_plaintext() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeySpec": "AES_256"});
    world.check("GenerateDataKeyWithoutPlaintext", request, expect![[r#"
        {
          "CiphertextBlob": "111 bytes",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyMaterialId": "MATERIAL"
        }"#]]).await;
}

#[tokio::test]
async fn the_blob_opens() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "NumberOfBytes": 7});
    let made = world.ok("GenerateDataKeyWithoutPlaintext", request).await;
    let opened = world.ok("Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]})).await;
    assert_eq!(decoded(&opened, "Plaintext"), 7);
}

#[tokio::test]
async fn lengths() {
    lengths_are_said_once("GenerateDataKeyWithoutPlaintext", |answer| decoded(answer, "CiphertextBlob")).await;
}

#[tokio::test]
async fn other_keys() {
    only_symmetric_keys_make_data_keys("GenerateDataKeyWithoutPlaintext").await;
}
