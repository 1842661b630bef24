//! DeriveSharedSecret: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeriveSharedSecret.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use p256::{elliptic_curve::ecdh::diffie_hellman, pkcs8::EncodePublicKey};
use serde_json::json;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::{
    attester::{Attester, Laptop},
    world::{Keeping, World, base64, blob_of, text, with},
};

pub const SUBJECT: Subject = Subject {
    name: "DeriveSharedSecret",
    members: &[
        must("KeyId", KEY),
        must("KeyAgreementAlgorithm", Kind::Word(&["ECDH"])),
        must("PublicKey", Kind::Blob(1, 8192)),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
        may("Recipient", Kind::Structure),
    ],
    request: |things| json!({"KeyId": things.key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": things.blob}),
    about: About::Agreement,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP384, KeyUsage::KeyAgreement).await;
    let public = world.ok("GetPublicKey", json!({"KeyId": key})).await["PublicKey"].clone();
    let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
    world.check("DeriveSharedSecret", request, expect![[r#"
        {
          "KeyAgreementAlgorithm": "ECDH",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyOrigin": "AWS_KMS",
          "SharedSecret": "48 bytes"
        }"#]]).await;
}

/// Both sides on one curve: ours in the HSM, the other by another implementation.
macro_rules! agrees {
    ($world:expr, $curve:ident, $spec:literal) => {{
        let made = $world.ok("CreateKey", json!({"KeySpec": $spec, "KeyUsage": "KEY_AGREEMENT"})).await;
        let key = &made["KeyMetadata"]["KeyId"];
        let spki = text(&$world.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey");
        let ours: $curve::PublicKey = {
            use $curve::pkcs8::DecodePublicKey;
            $curve::PublicKey::from_public_key_der(&STANDARD.decode(spki).unwrap()).unwrap()
        };
        // Several, because a secret may begin with a zero, which must stay.
        for seed in 1..40u8 {
            let mut scalar = [seed; 66];
            scalar[..2].fill(0);
            let size = ours.to_sec1_bytes().len() / 2;
            let theirs = $curve::SecretKey::from_slice(&scalar[..size]).unwrap();
            let public = base64(theirs.public_key().to_public_key_der().unwrap().as_bytes());
            let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
            let secret = text(&$world.ok("DeriveSharedSecret", request).await, "SharedSecret");
            let expected = diffie_hellman(theirs.to_nonzero_scalar(), ours.as_affine());
            assert_eq!(secret, base64(expected.raw_secret_bytes()), "{}", $spec);
        }
    }};
}

#[tokio::test]
async fn the_other_side_comes_to_the_same() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        agrees!(world, p256, "ECC_NIST_P256");
        agrees!(world, p384, "ECC_NIST_P384");
        agrees!(world, p521, "ECC_NIST_P521");
    }
}

#[tokio::test]
async fn what_is_no_public_key_of_the_curve_is_refused() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::KeyAgreement).await;
    let of = |spec| async move { world_key(spec).await };
    let good = STANDARD.decode(of(KeySpec::EccNistP256).await).unwrap();
    let mut off_curve = good.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let compressed = [&[0x30, 0x39][..], &good[2..24], &[0, 0x22, 0, 3], &good[27..59]].concat();
    let mut compressed = compressed;
    compressed[24..27].copy_from_slice(&[0x03, 0x22, 0]);
    let trailing = [&good[..], &[0]].concat();
    let other_curve = STANDARD.decode(of(KeySpec::EccNistP384).await).unwrap();
    let rsa = STANDARD.decode(of(KeySpec::Rsa2048).await).unwrap();
    for public in [off_curve, compressed, trailing, other_curve, rsa, b"not DER".to_vec(), good[..50].to_vec()] {
        let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&public)});
        world.refuse("DeriveSharedSecret", request, "ValidationException", "").await;
    }
}

async fn world_key(spec: KeySpec) -> String {
    let world = World::new().await;
    let usage = if spec == KeySpec::Rsa2048 { KeyUsage::SignVerify } else { KeyUsage::KeyAgreement };
    let key = world.plant(spec, usage).await;
    text(&world.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey")
}

#[tokio::test]
async fn a_key_that_signs_agrees_on_nothing() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let message =
        format!("{} key usage is SIGN_VERIFY which is not valid for DeriveSharedSecret.", world.arn_of(&key));
    let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AAAA"});
    world.refuse("DeriveSharedSecret", request, "InvalidKeyUsageException", &message).await;
}

#[tokio::test]
async fn a_recipient_gets_the_secret_and_the_caller_does_not() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let key = world.plant(KeySpec::EccNistP384, KeyUsage::KeyAgreement).await;
    let public = world.ok("GetPublicKey", json!({"KeyId": key})).await["PublicKey"].clone();
    let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
    let secret = world.ok("DeriveSharedSecret", request.clone()).await;
    let for_recipient = with(request.clone(), json!({"Recipient": attester.recipient()}));
    let answer = world.ok("DeriveSharedSecret", for_recipient).await;
    assert!(answer.get("SharedSecret").is_none());
    let opened = Laptop::get().open(&blob_of(&answer, "CiphertextForRecipient"));
    assert_eq!(opened, blob_of(&secret, "SharedSecret"));
    let other = with(request, json!({"DryRun": true, "Recipient": Attester::new().recipient()}));
    assert_eq!(world.call("DeriveSharedSecret", other).await.code(), "ValidationException");
}
