//! Encrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>.

use expect_test::expect;
use serde_json::json;
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ALGORITHM, About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, lower_camel, may, must};
use crate::world::{World, base64, with};

pub const SUBJECT: Subject = Subject {
    name: "Encrypt",
    members: &[
        must("KeyId", KEY),
        must("Plaintext", Kind::Plaintext),
        may("EncryptionContext", Kind::Context),
        may("GrantTokens", GRANT_TOKENS),
        may("EncryptionAlgorithm", ALGORITHM),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "Plaintext": base64(b"a plaintext")}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn a_symmetric_ciphertext_is_79_bytes_longer() {
    let world = World::new().await;
    let key = world.key().await;
    let request = json!({"KeyId": key, "Plaintext": base64(b"at dawn")});
    world.check("Encrypt", request, expect![[r#"
        {
          "CiphertextBlob": "86 bytes",
          "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1"
        }"#]]).await;
}

#[tokio::test]
async fn the_key_is_answered_by_its_arn_whatever_it_was_called() {
    let world = World::new().await;
    let key = world.key().await;
    world.alias("alias/a", &key).await;
    for name in [key.clone(), world.arn_of(&key), "alias/a".to_owned(), world.arn_of("alias/a")] {
        let answer = world.ok("Encrypt", json!({"KeyId": name, "Plaintext": "eA=="})).await;
        assert_eq!(answer["KeyId"], world.arn_of(&key));
    }
}

#[tokio::test]
async fn no_ciphertext_comes_twice() {
    let world = World::new().await;
    let key = world.key().await;
    assert_ne!(world.encrypt(&key, b"x").await, world.encrypt(&key, b"x").await);
}

/// RFC 8017 section 7.1.1; AWS KMS: Encrypt, "Plaintext".
#[tokio::test]
async fn an_rsa_plaintext_has_its_longest_length() {
    let world = World::new().await;
    for (spec, limits) in
        [(KeySpec::Rsa2048, [214, 190]), (KeySpec::Rsa3072, [342, 318]), (KeySpec::Rsa4096, [470, 446])]
    {
        let key = world.plant(spec, KeyUsage::EncryptDecrypt).await;
        for (algorithm, most) in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"].into_iter().zip(limits) {
            let request = |length| {
                json!({"KeyId": key, "EncryptionAlgorithm": algorithm, "Plaintext": base64(&vec![7; length])})
            };
            let sealed = world.ok("Encrypt", request(most)).await;
            let opening = json!({"Plaintext": null, "CiphertextBlob": sealed["CiphertextBlob"]});
            let opened = world.ok("Decrypt", with(request(1), opening)).await;
            assert_eq!(opened["Plaintext"], base64(&vec![7; most]));
            let message =
                format!("Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes.");
            world.refuse("Encrypt", request(most + 1), "ValidationException", &message).await;
        }
    }
}

#[tokio::test]
async fn an_rsa_ciphertext_is_bare() {
    let world = World::new().await;
    let request = json!({
        "KeyId": world.rsa().await, "Plaintext": base64(b"at dawn"), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
    });
    world.check("Encrypt", request, expect![[r#"
        {
          "CiphertextBlob": "256 bytes",
          "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1"
        }"#]]).await;
}

#[tokio::test]
async fn algorithm_and_key_must_fit() {
    let world = World::new().await;
    let (rsa, symmetric) = (world.rsa().await, world.key().await);
    let request = |key: &str| json!({"KeyId": key, "Plaintext": "eA=="});
    let wrong = |algorithm: &str, spec: &str| format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
    let message = wrong("SYMMETRIC_DEFAULT", "RSA_2048");
    world.refuse("Encrypt", request(&rsa), "InvalidKeyUsageException", &message).await;
    for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"] {
        let request = with(request(&symmetric), json!({"EncryptionAlgorithm": algorithm}));
        let message = wrong(algorithm, "SYMMETRIC_DEFAULT");
        world.refuse("Encrypt", request, "InvalidKeyUsageException", &message).await;
    }
}

#[tokio::test]
async fn a_key_of_another_usage_does_not_encrypt() {
    let world = World::new().await;
    for (spec, usage) in
        [(KeySpec::Rsa2048, KeyUsage::SignVerify), (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac)]
    {
        let key = world.plant(spec, usage).await;
        let message = format!("{} key usage is {usage} which is not valid for Encrypt.", world.arn_of(&key));
        let request = json!({"KeyId": key, "Plaintext": "eA=="});
        world.refuse("Encrypt", request, "InvalidKeyUsageException", &message).await;
    }
}

#[tokio::test]
async fn state_comes_before_algorithm_and_algorithm_before_length() {
    let world = World::new().await;
    let key = world.rsa().await;
    let request = json!({"KeyId": key, "Plaintext": base64(&[0; 4096])});
    assert_eq!(world.call("Encrypt", request.clone()).await.code(), "InvalidKeyUsageException");
    world.set_state(&key, KeyState::Disabled).await;
    let disabled = format!("{} is disabled.", world.arn_of(&key));
    world.refuse("Encrypt", request, "DisabledException", &disabled).await;
}

#[tokio::test]
async fn usage_comes_before_state() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    world.set_state(&key, KeyState::Disabled).await;
    let request = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    let message = format!("{} key usage is SIGN_VERIFY which is not valid for Encrypt.", world.arn_of(&key));
    world.refuse("Encrypt", request, "InvalidKeyUsageException", &message).await;
}

#[tokio::test]
async fn constraints_come_before_the_key() {
    let world = World::new().await;
    let request = json!({"KeyId": "no-such-key", "Plaintext": base64(&[0; 4097])});
    assert_eq!(world.call("Encrypt", request).await.code(), "ValidationException");
}

#[tokio::test]
async fn a_context_is_no_matter_for_rsa() {
    let world = World::new().await;
    let request = json!({
        "KeyId": world.rsa().await, "Plaintext": "eA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1",
        "EncryptionContext": {"a": "b"},
    });
    let message = "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.";
    world.refuse("Encrypt", request, "ValidationException", message).await;
}

/// The orders are AWS's own, which are neither the model's nor the alphabet's.
#[tokio::test]
async fn words_are_listed_in_awss_order() {
    let world = World::new().await;
    let key = world.key().await;
    for (operation, member, words) in [
        ("Encrypt", "EncryptionAlgorithm", "RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE, SYMMETRIC_DEFAULT"),
        ("Decrypt", "EncryptionAlgorithm", "RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE, SYMMETRIC_DEFAULT"),
        ("GenerateMac", "MacAlgorithm", "HMAC_SHA_384, HMAC_SHA_256, HMAC_SHA_224, HMAC_SHA_512"),
        ("VerifyMac", "MacAlgorithm", "HMAC_SHA_384, HMAC_SHA_256, HMAC_SHA_224, HMAC_SHA_512"),
        ("Sign", "MessageType", "RAW, DIGEST, EXTERNAL_MU"),
        (
            "Sign",
            "SigningAlgorithm",
            "RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512, RSASSA_PKCS1_V1_5_SHA_256, \
             RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512, ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512, \
             ED25519_SHA_512, ED25519_PH_SHA_512, SM2DSA, ML_DSA_SHAKE_256",
        ),
        // Those of CreateKey's member of this name, in the model's order.
        (
            "GenerateDataKey",
            "KeySpec",
            "RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1, \
             SYMMETRIC_DEFAULT, HMAC_224, HMAC_256, HMAC_384, HMAC_512, SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, \
             ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024",
        ),
    ] {
        let request = json!({
            "KeyId": key, "Plaintext": "eA==", "CiphertextBlob": "eA==", "Message": "eA==", "Mac": "eA==",
            "MacAlgorithm": "HMAC_SHA_256", "SigningAlgorithm": "ECDSA_SHA_256",
        });
        let at = lower_camel(member);
        let message = format!(
            "1 validation error detected: Value 'FOO' at '{at}' failed to satisfy constraint: Member must satisfy enum \
             value set: [{words}]"
        );
        world.refuse(operation, with(request, json!({member: "FOO"})), "ValidationException", &message).await;
    }
}

#[tokio::test]
async fn a_context_has_a_longest_length() {
    let world = World::new().await;
    let key = world.key().await;
    let request = |length| json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": {"k": "v".repeat(length)}});
    world.ok("Encrypt", request(8179)).await;
    assert_eq!(world.call("Encrypt", request(8180)).await.code(), "ValidationException");
}

#[tokio::test]
async fn a_denial_says_who_what_and_on_what() {
    let world = World::new().await;
    let key = world.key().await;
    let user = world.as_user(&["kms:Decrypt"]).await;
    let denied = format!(
        "User: {} is not authorized to perform: kms:Encrypt on resource: {} because no identity-based policy allows the \
         kms:Encrypt action",
        user.arn,
        world.arn_of(&key)
    );
    user.refuse("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="}), "AccessDeniedException", &denied).await;
}
