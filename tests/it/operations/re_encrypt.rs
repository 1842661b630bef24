//! ReEncrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html>.

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ALGORITHM, About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::world::{World, base64, with};

pub const SUBJECT: Subject = Subject {
    name: "ReEncrypt",
    members: &[
        must("CiphertextBlob", Kind::Blob(1, 6144)),
        may("SourceEncryptionContext", Kind::Context),
        may("SourceKeyId", KEY),
        must("DestinationKeyId", KEY),
        may("DestinationEncryptionContext", Kind::Context),
        may("SourceEncryptionAlgorithm", ALGORITHM),
        may("DestinationEncryptionAlgorithm", ALGORITHM),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
        may("DryRunModifiers", Kind::Modifiers),
    ],
    request: |things| json!({"CiphertextBlob": things.blob, "DestinationKeyId": things.key}),
    about: About::Symmetric,
    key: Some(("DestinationKeyId", Names::Any)),
    states: USE,
};

async fn opened(world: &World, blob: &Value, context: Value) -> Value {
    let request = json!({"CiphertextBlob": blob, "EncryptionContext": context});
    world.ok("Decrypt", request).await["Plaintext"].clone()
}

#[tokio::test]
async fn the_answer_names_both_keys() {
    let world = World::new().await;
    let (source, destination) = (world.key().await, world.key().await);
    let request = json!({"CiphertextBlob": world.encrypt(&source, b"x").await, "DestinationKeyId": destination});
    world.check("ReEncrypt", request, expect![[r#"
        {
          "CiphertextBlob": "80 bytes",
          "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
          "DestinationKeyMaterialId": "MATERIAL",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
          "SourceKeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY2",
          "SourceKeyMaterialId": "MATERIAL"
        }"#]]).await;
}

#[tokio::test]
async fn the_plaintext_stays_and_the_context_may_change() {
    let world = World::new().await;
    let (source, destination) = (world.key().await, world.key().await);
    let old = json!({"KeyId": source, "Plaintext": base64(b"at dawn"), "EncryptionContext": {"a": "1"}});
    let blob = world.ok("Encrypt", old).await["CiphertextBlob"].clone();
    let request = json!({
        "CiphertextBlob": blob, "SourceKeyId": source, "DestinationKeyId": destination,
        "SourceEncryptionContext": {"a": "1"}, "DestinationEncryptionContext": {"b": "2"},
    });
    let answer = world.ok("ReEncrypt", request.clone()).await;
    assert_eq!(opened(&world, &answer["CiphertextBlob"], json!({"b": "2"})).await, base64(b"at dawn"));
    let wrong = with(request, json!({"SourceEncryptionContext": {"a": "2"}}));
    world.refuse("ReEncrypt", wrong, "InvalidCiphertextException", "").await;
}

#[tokio::test]
async fn from_symmetric_to_rsa_and_back() {
    let world = World::new().await;
    let (symmetric, rsa) = (world.key().await, world.rsa().await);
    let there = json!({
        "CiphertextBlob": world.encrypt(&symmetric, b"at dawn").await, "DestinationKeyId": rsa,
        "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
    });
    let sealed = world.ok("ReEncrypt", there).await;
    assert!(sealed.get("DestinationKeyMaterialId").is_none() && sealed.get("SourceKeyMaterialId").is_some());
    let back = json!({
        "CiphertextBlob": sealed["CiphertextBlob"], "SourceKeyId": rsa, "DestinationKeyId": symmetric,
        "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
    });
    let answer = world.ok("ReEncrypt", back).await;
    assert!(answer.get("SourceKeyMaterialId").is_none() && answer.get("DestinationKeyMaterialId").is_some());
    assert_eq!(opened(&world, &answer["CiphertextBlob"], json!({})).await, base64(b"at dawn"));
}

#[tokio::test]
async fn what_rsa_cannot_hold_is_refused() {
    let world = World::new().await;
    let request = json!({
        "CiphertextBlob": world.encrypt(&world.key().await, &[7; 215]).await, "DestinationKeyId": world.rsa().await,
        "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_1",
    });
    let message = "Algorithm RSAES_OAEP_SHA_1 and key spec RSA_2048 cannot encrypt data larger than 214 bytes.";
    world.refuse("ReEncrypt", request, "ValidationException", message).await;
}

#[tokio::test]
async fn the_source_key_may_be_named_and_must_be_the_right_one() {
    let world = World::new().await;
    let (source, other) = (world.key().await, world.key().await);
    world.alias("alias/source", &source).await;
    let blob = world.encrypt(&source, b"x").await;
    let request = |key: &str| json!({"CiphertextBlob": blob, "SourceKeyId": key, "DestinationKeyId": other});
    for name in [source.clone(), world.arn_of(&source), "alias/source".to_owned(), world.arn_of("alias/source")] {
        world.ok("ReEncrypt", request(&name)).await;
    }
    let incorrect = "The key ID in the request does not identify a CMK that can perform this operation.";
    world.refuse("ReEncrypt", request(&other), "IncorrectKeyException", incorrect).await;
    let unknown = "Invalid keyId 'fake-key-id'";
    world.refuse("ReEncrypt", request("fake-key-id"), "NotFoundException", unknown).await;
}

#[tokio::test]
async fn an_rsa_ciphertext_needs_its_key_named() {
    let world = World::new().await;
    let request = json!({
        "CiphertextBlob": base64(&[1; 256]), "DestinationKeyId": world.key().await,
        "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
    });
    assert_eq!(world.call("ReEncrypt", request).await.code(), "ValidationException");
}

#[tokio::test]
async fn each_side_has_its_permission() {
    let world = World::new().await;
    let request = json!({
        "CiphertextBlob": world.encrypt(&world.key().await, b"x").await, "DestinationKeyId": world.key().await,
    });
    for (actions, code) in [
        (&["kms:ReEncryptFrom"][..], "AccessDeniedException"),
        (&["kms:ReEncryptTo"], "AccessDeniedException"),
        (&["kms:Encrypt", "kms:Decrypt"], "AccessDeniedException"),
        (&["kms:ReEncryptFrom", "kms:ReEncryptTo"], ""),
        (&["kms:ReEncrypt*"], ""),
    ] {
        assert_eq!(world.as_user(actions).await.call("ReEncrypt", request.clone()).await.code(), code, "{actions:?}");
    }
}

#[tokio::test]
async fn nothing_is_told_of_a_source_that_is_not_named() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let there = world.in_region("eu-other-1");
    let request = json!({"CiphertextBlob": blob, "DestinationKeyId": there.key().await});
    let message = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or \
                   you are not allowed to access.";
    there.refuse("ReEncrypt", request, "AccessDeniedException", message).await;
}

#[tokio::test]
async fn either_side_may_be_in_the_wrong_state_or_of_the_wrong_usage() {
    let world = World::new().await;
    let (source, destination) = (world.key().await, world.key().await);
    let blob = world.encrypt(&source, b"x").await;
    let request = |to: &str| json!({"CiphertextBlob": blob, "DestinationKeyId": to});
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let usage = format!("{} key usage is GENERATE_VERIFY_MAC which is not valid for ReEncrypt.", world.arn_of(&mac));
    world.refuse("ReEncrypt", request(&mac), "InvalidKeyUsageException", &usage).await;
    for key in [&source, &destination] {
        world.set_state(key, KeyState::Disabled).await;
        let disabled = format!("{} is disabled.", world.arn_of(key));
        world.refuse("ReEncrypt", request(&destination), "DisabledException", &disabled).await;
        world.set_state(key, KeyState::Enabled).await;
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let world = World::new().await;
    let request = json!({"CiphertextBlob": base64(b"garbage"), "DestinationKeyId": world.key().await});
    world.refuse("ReEncrypt", request, "InvalidCiphertextException", "").await;
}

#[tokio::test]
async fn a_dry_run_may_ignore_the_ciphertext() {
    let world = World::new().await;
    let (source, destination) = (world.key().await, world.key().await);
    let modifiers =
        json!({"DestinationKeyId": destination, "DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]});
    let named = with(modifiers.clone(), json!({"SourceKeyId": source}));
    assert_eq!(world.call("ReEncrypt", named.clone()).await.code(), "DryRunOperationException");
    let missed = "1 validation error detected: Value null at 'sourceKeyId' failed to satisfy constraint: Member must not \
                  be null";
    world.refuse("ReEncrypt", modifiers, "ValidationException", missed).await;
    let half = world.as_user(&["kms:ReEncryptFrom"]).await;
    assert_eq!(half.call("ReEncrypt", named).await.code(), "AccessDeniedException");
}
