//! Verify: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Verify.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::json;
use strongroom::key::{
    algorithm::{Algorithm, SigningAlgorithm},
    spec::{KeySpec, KeyUsage},
};

use super::{
    About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must,
    sign::{MESSAGE_TYPE, SIGNING, messages_that_do_not_fit, offered, other_keys, signing_specs, whole},
};
use crate::world::{World, base64, text, with};

pub const SUBJECT: Subject = Subject {
    name: "Verify",
    members: &[
        must("KeyId", KEY),
        must("Message", Kind::Plaintext),
        may("MessageType", MESSAGE_TYPE),
        must("Signature", Kind::Blob(1, 6144)),
        must("SigningAlgorithm", SIGNING),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| {
        let (message, signature) = (base64(b"a message"), &things.blob);
        json!({"KeyId": things.key, "Message": message, "Signature": signature, "SigningAlgorithm": "ECDSA_SHA_256"})
    },
    about: About::Signing,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "ECDSA_SHA_256"});
    let signature = world.ok("Sign", request.clone()).await["Signature"].clone();
    world.check("Verify", with(request, json!({"Signature": signature})), expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "SignatureValid": true,
          "SigningAlgorithm": "ECDSA_SHA_256"
        }"#]]).await;
}

#[tokio::test]
async fn any_change_is_seen() {
    let world = World::new().await;
    for spec in signing_specs() {
        let key = world.plant(spec, KeyUsage::SignVerify).await;
        for algorithm in SigningAlgorithm::of(spec).iter().copied().filter(|algorithm| offered(*algorithm)) {
            let request = with(whole(algorithm, b"m"), json!({"KeyId": key, "SigningAlgorithm": algorithm}));
            let signature = STANDARD.decode(text(&world.ok("Sign", request.clone()).await, "Signature")).unwrap();
            let flipped = |at: usize| {
                let mut flipped = signature.clone();
                flipped[at] ^= 1;
                flipped
            };
            let last = signature.len() - 1;
            let spoilt = [
                flipped(0),
                flipped(last),
                flipped(last / 2),
                signature[..last].to_vec(),
                [&signature[..], &[0]].concat(),
                vec![0],
                vec![0; signature.len()],
            ];
            for signature in spoilt {
                let verify = with(request.clone(), json!({"Signature": base64(&signature)}));
                world.refuse("Verify", verify, "KMSInvalidSignatureException", "").await;
            }
            let other = with(request, whole(algorithm, b"another"));
            let other = with(other, json!({"Signature": base64(&signature)}));
            world.refuse("Verify", other, "KMSInvalidSignatureException", "").await;
        }
    }
}

#[tokio::test]
async fn a_signature_of_ecdsa_is_der_and_nothing_else() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "ECDSA_SHA_256"});
    let der = STANDARD.decode(text(&world.ok("Sign", request.clone()).await, "Signature")).unwrap();
    let r_len = usize::from(der[3]);
    let padded = [&[0x30, der[1] + 1, 2, der[3] + 1, 0][..], &der[4..]].concat();
    let long_form = [&[0x30, 0x81][..], &der[1..]].concat();
    let trailing = [&[0x30, der[1] + 2][..], &der[2..], &[5, 0]].concat();
    let bare = [&der[4..4 + r_len], &der[6 + r_len..]].concat();
    for signature in [padded, long_form, trailing, bare] {
        let verify = with(request.clone(), json!({"Signature": base64(&signature)}));
        world.refuse("Verify", verify, "KMSInvalidSignatureException", "").await;
    }
}

#[tokio::test]
async fn another_keys_signature_is_none() {
    let world = World::new().await;
    let made = world.ok("CreateKey", json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})).await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "ECDSA_SHA_256"});
    let signature = world.ok("Sign", request.clone()).await["Signature"].clone();
    let other = with(request, json!({"KeyId": made["KeyMetadata"]["KeyId"], "Signature": signature}));
    world.refuse("Verify", other, "KMSInvalidSignatureException", "").await;
}

#[tokio::test]
async fn a_message_must_be_of_its_type() {
    messages_that_do_not_fit("Verify", json!({"Signature": "AAAA"})).await;
}

#[tokio::test]
async fn the_key_must_fit() {
    other_keys("Verify", json!({"Signature": "AAAA"})).await;
}
