//! Decrypt: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::{Value, json};
use strongroom::{
    hsm::{self, OaepMethod},
    key::{
        spec::{KeySpec, KeyUsage},
        state::KeyState,
    },
};

use super::{ALGORITHM, About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::{
    attester::{Attester, Laptop, REGISTER},
    skip::skip,
    tokens::token,
    world::{Answer, Caller, Keeping, World, base64, blob_of, open_hsm, text, with},
};

pub const SUBJECT: Subject = Subject {
    name: "Decrypt",
    members: &[
        must("CiphertextBlob", Kind::Blob(1, 6144)),
        may("EncryptionContext", Kind::Context),
        may("GrantTokens", GRANT_TOKENS),
        may("KeyId", KEY),
        may("EncryptionAlgorithm", ALGORITHM),
        may("Recipient", Kind::Structure),
        may("DryRun", Kind::Bool),
        may("DryRunModifiers", Kind::Modifiers),
    ],
    request: |things| json!({"CiphertextBlob": things.blob}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

const NOT_ALLOWED: &str = "The ciphertext refers to a customer master key that does not exist, does not exist in this \
                           region, or you are not allowed to access.";
const INCORRECT: &str = "The key ID in the request does not identify a CMK that can perform this operation.";

/// The bytes of a blob spoilt in some way.
async fn decrypt(world: &World, blob: &[u8]) -> Answer {
    world.call("Decrypt", json!({"CiphertextBlob": base64(blob)})).await
}

fn refused_as(answer: &Answer, codes: &[&str]) -> bool {
    let (status, code, message) = answer.refusal();
    let silent = code != "InvalidCiphertextException" || message.is_empty();
    status == 400 && silent && codes.contains(&&*code)
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    let expected = expect![[r#"
        {
          "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyMaterialId": "MATERIAL",
          "Plaintext": "14 bytes"
        }"#]];
    world.check("Decrypt", json!({"CiphertextBlob": blob}), expected).await;
}

#[tokio::test]
async fn what_encrypt_made_is_opened() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
        let answer = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(answer["Plaintext"], base64(b"attack at dawn"));
    }
}

#[tokio::test]
async fn an_rsa_ciphertext_needs_its_key_and_algorithm() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let made = world.ok("CreateKey", json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})).await;
        let key = &made["KeyMetadata"]["KeyId"];
        for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"] {
            let request = json!({"KeyId": key, "EncryptionAlgorithm": algorithm});
            let sealed = world.ok("Encrypt", with(request.clone(), json!({"Plaintext": base64(b"at dawn")}))).await;
            let blob = &sealed["CiphertextBlob"];
            let opened = world.ok("Decrypt", with(request, json!({"CiphertextBlob": blob}))).await;
            assert_eq!(opened["Plaintext"], base64(b"at dawn"));
            assert_eq!(opened["EncryptionAlgorithm"], algorithm);
            assert!(opened.get("KeyMaterialId").is_none());
            let nameless = json!({"CiphertextBlob": blob, "EncryptionAlgorithm": algorithm});
            assert_eq!(world.call("Decrypt", nameless).await.code(), "ValidationException");
        }
    }
}

#[tokio::test]
async fn what_an_rsa_key_encrypted_is_no_ciphertext_unless_the_algorithm_is_named() {
    let world = World::new().await;
    let key = world.rsa().await;
    let request = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    let blob = text(&world.ok("Encrypt", request).await, "CiphertextBlob");
    let request = json!({"KeyId": key, "CiphertextBlob": blob});
    world.refuse("Decrypt", request, "InvalidCiphertextException", "").await;
    let request = json!({"SourceKeyId": key, "CiphertextBlob": blob, "DestinationKeyId": world.key().await});
    world.refuse("ReEncrypt", request, "InvalidCiphertextException", "").await;
}

#[tokio::test]
async fn a_symmetric_key_does_no_oaep() {
    let world = World::new().await;
    let request = json!({
        "KeyId": world.key().await, "CiphertextBlob": base64(&[1; 256]), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1",
    });
    let message = "Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec SYMMETRIC_DEFAULT.";
    world.refuse("Decrypt", request, "InvalidKeyUsageException", message).await;
}

#[tokio::test]
async fn every_flipped_byte_is_refused() {
    let world = World::new().await;
    let blob = STANDARD.decode(world.encrypt(&world.key().await, b"x").await).unwrap();
    for i in 0..blob.len() {
        let mut bad = blob.clone();
        bad[i] ^= 0x41;
        let answer = decrypt(&world, &bad).await;
        assert!(refused_as(&answer, &["InvalidCiphertextException", "AccessDeniedException"]), "{i}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_flipped_byte_is_refused_with_the_key_named() {
    let world = World::new().await;
    let key = world.key().await;
    let blob = STANDARD.decode(world.encrypt(&key, b"x").await).unwrap();
    for i in 0..blob.len() {
        let mut bad = blob.clone();
        bad[i] ^= 1;
        let answer = world.call("Decrypt", json!({"KeyId": key, "CiphertextBlob": base64(&bad)})).await;
        assert!(refused_as(&answer, &["InvalidCiphertextException", "IncorrectKeyException"]), "{i}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_cut_and_every_longer_blob_is_refused() {
    let world = World::new().await;
    let blob = STANDARD.decode(world.encrypt(&world.key().await, b"xy").await).unwrap();
    for length in 1..blob.len() {
        assert!(refused_as(&decrypt(&world, &blob[..length]).await, &["InvalidCiphertextException"]), "{length}");
    }
    for more in [1, 16, 6144 - blob.len()] {
        let longer = [&blob[..], &vec![0; more]].concat();
        assert!(refused_as(&decrypt(&world, &longer).await, &["InvalidCiphertextException"]), "{more} more");
    }
}

#[tokio::test]
async fn garbage_is_refused_whether_a_key_is_named_or_not() {
    let world = World::new().await;
    let key = world.key().await;
    for garbage in [vec![0], vec![0; 79], vec![9; 200], vec![0xff; 6144], b"not a ciphertext".to_vec()] {
        let request = json!({"CiphertextBlob": base64(&garbage)});
        world.refuse("Decrypt", request.clone(), "InvalidCiphertextException", "").await;
        world.refuse("Decrypt", with(request, json!({"KeyId": key})), "InvalidCiphertextException", "").await;
    }
}

#[tokio::test]
async fn every_flipped_byte_of_an_rsa_ciphertext_is_refused_alike() {
    let world = World::new().await;
    let key = world.rsa().await;
    for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"] {
        let request = json!({"KeyId": key, "EncryptionAlgorithm": algorithm});
        let sealed = world.ok("Encrypt", with(request.clone(), json!({"Plaintext": base64(b"at dawn")}))).await;
        let blob = STANDARD.decode(sealed["CiphertextBlob"].as_str().unwrap()).unwrap();
        assert_eq!(blob.len(), 256);
        let flipped = (0..256).step_by(15).map(|i| {
            let mut bad = blob.clone();
            bad[i] ^= 1;
            bad
        });
        let lengths = [1, 255].map(|length| blob[..length].to_vec()).into_iter().chain([[&blob[..], &[0]].concat()]);
        for bad in flipped.chain(lengths).chain([vec![0; 256], vec![0xff; 256]]) {
            let bad = with(request.clone(), json!({"CiphertextBlob": base64(&bad)}));
            world.refuse("Decrypt", bad, "InvalidCiphertextException", "").await;
        }
    }
}

#[tokio::test]
async fn who_fails_a_hundred_times_in_a_minute_must_wait() {
    let world = World::new().await;
    let request = json!({
        "KeyId": world.rsa().await, "CiphertextBlob": base64(&[9; 256]), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1",
    });
    for _ in 0..100 {
        world.refuse("Decrypt", request.clone(), "InvalidCiphertextException", "").await;
    }
    let too_often = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";
    world.refuse("Decrypt", request.clone(), "ThrottlingException", too_often).await;
    let other = world.as_user(&["kms:Decrypt"]).await;
    other.refuse("Decrypt", request.clone(), "InvalidCiphertextException", "").await;
    world.clock.advance(Duration::from_secs(60));
    world.refuse("Decrypt", request, "InvalidCiphertextException", "").await;
}

/// How often each exception came of as many calls at once; success has no name.
async fn at_once(caller: &Caller, calls: usize, request: &Value) -> BTreeMap<String, usize> {
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let (caller, letter) = (caller.clone(), caller.draft("Decrypt", request.to_string()));
            tokio::spawn(async move { caller.send(letter).await.code() })
        })
        .collect();
    let mut codes = BTreeMap::new();
    for call in calls {
        *codes.entry(call.await.unwrap()).or_default() += 1;
    }
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_all_at_once_fails_no_more_often_and_who_does_not_fail_is_not_limited() {
    let world = World::new().await;
    let caller = world.as_user(&["kms:Decrypt"]).await;
    let (key, algorithm) = (world.rsa().await, "RSAES_OAEP_SHA_1");
    let request = json!({"KeyId": key, "Plaintext": base64(b"at dawn"), "EncryptionAlgorithm": algorithm});
    let blob = text(&world.ok("Encrypt", request).await, "CiphertextBlob");
    let good = json!({"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm});
    let bad = with(good.clone(), json!({"CiphertextBlob": base64(&[9; 256])}));

    assert_eq!(at_once(&caller, 1000, &good).await, [(String::new(), 1000)].into());
    let expected = [("InvalidCiphertextException", 100), ("ThrottlingException", 700)];
    assert_eq!(at_once(&caller, 800, &bad).await, expected.map(|(code, count)| (code.to_owned(), count)).into());
}

#[tokio::test]
async fn the_other_oaep_does_not_open() {
    let world = World::new().await;
    let key = world.rsa().await;
    let request = |algorithm: &str| json!({"KeyId": key, "EncryptionAlgorithm": algorithm});
    let plaintext = json!({"Plaintext": base64(b"at dawn")});
    let sealed = world.ok("Encrypt", with(request("RSAES_OAEP_SHA_1"), plaintext)).await;
    let other = with(request("RSAES_OAEP_SHA_256"), json!({"CiphertextBlob": sealed["CiphertextBlob"]}));
    world.refuse("Decrypt", other, "InvalidCiphertextException", "").await;
}

#[tokio::test]
async fn another_rsa_key_does_not_open() {
    let world = World::new().await;
    let made = world.ok("CreateKey", json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})).await;
    let algorithm = json!({"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    let request = json!({"KeyId": world.rsa().await, "Plaintext": base64(b"at dawn")});
    let sealed = world.ok("Encrypt", with(request, algorithm.clone())).await;
    let other = json!({"KeyId": made["KeyMetadata"]["KeyId"], "CiphertextBlob": sealed["CiphertextBlob"]});
    world.refuse("Decrypt", with(other, algorithm), "InvalidCiphertextException", "").await;
}

async fn sealed_with(world: &World, context: Value) -> Value {
    let request = json!({"KeyId": world.key().await, "Plaintext": base64(b"at dawn"), "EncryptionContext": context});
    world.ok("Encrypt", request).await["CiphertextBlob"].clone()
}

#[tokio::test]
async fn the_context_must_be_the_same() {
    let world = World::new().await;
    let blob = sealed_with(&world, json!({"a": "1", "b": "2"})).await;
    let request = |context: Value| json!({"CiphertextBlob": blob, "EncryptionContext": context});
    world.ok("Decrypt", request(json!({"b": "2", "a": "1"}))).await;
    for context in [
        Value::Null,
        json!({}),
        json!({"a": "1"}),
        json!({"a": "1", "b": "2", "c": "3"}),
        json!({"a": "2", "b": "1"}),
        json!({"A": "1", "b": "2"}),
        json!({"a": "1", "b": "2 "}),
        json!({"a1": "1", "b": "2"}),
    ] {
        world.refuse("Decrypt", request(context), "InvalidCiphertextException", "").await;
    }
}

#[tokio::test]
async fn no_context_is_the_empty_one() {
    let world = World::new().await;
    for (sealing, opening) in [(Value::Null, json!({})), (json!({}), Value::Null)] {
        let blob = sealed_with(&world, sealing).await;
        world.ok("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": opening})).await;
    }
}

#[tokio::test]
async fn another_key_is_incorrect_whatever_it_is() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let other = world.key().await;
    world.alias("alias/other", &other).await;
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    for key in [other.clone(), world.arn_of(&other), "alias/other".to_owned(), mac] {
        let request = json!({"KeyId": key, "CiphertextBlob": blob});
        world.refuse("Decrypt", request, "IncorrectKeyException", INCORRECT).await;
    }
}

#[tokio::test]
async fn a_key_of_another_usage_is_refused_by_its_usage() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let arn = world.arn_of(&key);
    let message = format!("{arn} key usage is SIGN_VERIFY which is not valid for Decrypt.");
    let request = json!({
        "KeyId": key, "CiphertextBlob": base64(&[1; 256]), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1",
    });
    world.refuse("Decrypt", request, "InvalidKeyUsageException", &message).await;
}

#[tokio::test]
async fn without_a_key_id_nothing_is_told_of_the_key() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let request = json!({"CiphertextBlob": blob});
    world.in_region("eu-other-1").refuse("Decrypt", request.clone(), "AccessDeniedException", NOT_ALLOWED).await;
    let stranger = world.as_user(&["kms:Encrypt"]).await;
    stranger.refuse("Decrypt", request.clone(), "AccessDeniedException", NOT_ALLOWED).await;
    World::new().await.refuse("Decrypt", request, "AccessDeniedException", NOT_ALLOWED).await;
}

#[tokio::test]
async fn with_a_key_id_the_denial_is_told() {
    let world = World::new().await;
    let key = world.key().await;
    let user = world.as_user(&[]).await;
    let request = json!({"KeyId": key, "CiphertextBlob": world.encrypt(&key, b"x").await});
    let denied = format!(
        "User: {} is not authorized to perform: kms:Decrypt on resource: {} because no identity-based policy allows the \
         kms:Decrypt action",
        user.arn,
        world.arn_of(&key)
    );
    user.refuse("Decrypt", request, "AccessDeniedException", &denied).await;
}

#[tokio::test]
async fn permission_and_state_come_before_what_is_wrong_with_the_ciphertext() {
    let world = World::new().await;
    let key = world.key().await;
    let request = json!({"KeyId": key, "CiphertextBlob": base64(b"garbage")});
    let nobody = world.as_user(&[]).await;
    assert_eq!(nobody.call("Decrypt", request.clone()).await.code(), "AccessDeniedException");
    world.set_state(&key, KeyState::Disabled).await;
    assert_eq!(world.call("Decrypt", request).await.code(), "DisabledException");
}

#[tokio::test]
async fn a_dry_run_may_ignore_the_ciphertext() {
    let world = World::new().await;
    let key = world.key().await;
    let modifiers = json!({"DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]});
    let code = |request: Value| async { world.call("Decrypt", request).await.code() };
    assert_eq!(code(with(modifiers.clone(), json!({"KeyId": key}))).await, "DryRunOperationException");
    assert_eq!(code(modifiers.clone()).await, "ValidationException");
    let nobody = world.as_user(&[]).await;
    let denied = nobody.call("Decrypt", with(modifiers, json!({"KeyId": key}))).await;
    assert_eq!(denied.code(), "AccessDeniedException");
    // Without DryRun they mean nothing.
    let request = json!({"KeyId": key, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]});
    assert_eq!(code(request.clone()).await, "ValidationException");
    world.ok("Decrypt", with(request, json!({"CiphertextBlob": world.encrypt(&key, b"x").await}))).await;
    let unknown = json!({"KeyId": key, "CiphertextBlob": "AAAA", "DryRunModifiers": ["X"]});
    assert_eq!(code(unknown).await, "ValidationException");
}

#[tokio::test]
async fn a_recipient_is_refused_and_an_empty_one_is_none() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let recipient = json!({"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "AAAA"});
    let request = |recipient: Value| json!({"CiphertextBlob": blob, "Recipient": recipient});
    assert_eq!(world.call("Decrypt", request(recipient)).await.code(), "ValidationException");
    world.ok("Decrypt", request(json!({}))).await;
}

#[tokio::test]
async fn a_recipient_gets_the_plaintext_and_the_caller_does_not() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    let request = json!({"CiphertextBlob": blob, "Recipient": attester.recipient()});
    let expected = expect![[r#"
        {
          "CiphertextForRecipient": "443 bytes",
          "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1"
        }"#]];
    world.check("Decrypt", request.clone(), expected).await;
    let envelope = blob_of(&world.ok("Decrypt", request.clone()).await, "CiphertextForRecipient");
    assert_eq!(Laptop::get().open(&envelope), b"attack at dawn");
    let recipient = &world.audit().pop().unwrap()["additionalEventData"]["recipient"];
    assert_eq!(recipient["attestationDocumentModuleId"], "i-0123456789abcdef0-enc0123456789abcdef");
    assert_eq!(recipient["attestationDocumentEnclaveImageDigest"], base64(&REGISTER));
    assert_eq!(recipient["attestationDocumentEnclavePCR3"], base64(&REGISTER));
    // Another content key and IV each time.
    assert_ne!(blob_of(&world.ok("Decrypt", request).await, "CiphertextForRecipient"), envelope);
}

#[tokio::test]
async fn plaintexts_of_every_length_reach_the_recipient() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let key = world.key().await;
    for length in [1, 15, 16, 17, 32, 4096] {
        let plaintext = vec![length as u8; length];
        let blob = world.encrypt(&key, &plaintext).await;
        let answer = world.ok("Decrypt", json!({"CiphertextBlob": blob, "Recipient": attester.recipient()})).await;
        assert_eq!(Laptop::get().open(&blob_of(&answer, "CiphertextForRecipient")), plaintext);
    }
}

#[tokio::test]
async fn what_rsa_opened_reaches_the_recipient() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let request = json!({"KeyId": world.rsa().await, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    let sealed = world.ok("Encrypt", with(request.clone(), json!({"Plaintext": base64(b"at dawn")}))).await;
    let more = json!({"CiphertextBlob": sealed["CiphertextBlob"], "Recipient": attester.recipient()});
    let answer = world.ok("Decrypt", with(request, more)).await;
    assert!(answer.get("Plaintext").is_none() && answer.get("KeyMaterialId").is_none());
    assert_eq!(Laptop::get().open(&blob_of(&answer, "CiphertextForRecipient")), b"at dawn");
}

#[tokio::test]
async fn what_attests_nobody_is_refused_and_no_plaintext_is_answered() {
    let (attester, other) = (Attester::new(), Attester::new());
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    let request = |recipient: Value| json!({"CiphertextBlob": blob, "Recipient": recipient});
    let invalid = |why: &str| format!("The attestation document is not valid: {why}.");
    let unknown = invalid("its cabundle does not begin with a configured attestation root");
    world.refuse("Decrypt", request(other.recipient()), "ValidationException", &unknown).await;
    let garbage = with(attester.recipient(), json!({"AttestationDocument": "AAAA"}));
    let malformed = invalid("it is not a COSE_Sign1 of the specified form");
    world.refuse("Decrypt", request(garbage), "ValidationException", &malformed).await;
    world.clock.advance(Duration::from_secs(301));
    let stale = invalid("it is older than five minutes");
    world.refuse("Decrypt", request(attester.recipient()), "ValidationException", &stale).await;
}

#[tokio::test]
async fn a_recipient_is_whole_or_empty() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    let request = |recipient: Value| json!({"CiphertextBlob": blob, "Recipient": recipient});
    let at = |value: &str, member: &str, rule: &str| {
        format!("Value {value}at 'recipient.{member}' failed to satisfy constraint: Member must {rule}")
    };
    let (algorithm, document) = ("keyEncryptionAlgorithm", "attestationDocument");
    let long = base64(&vec![0; 262_145]);
    for (change, fault) in [
        (json!({"AttestationDocument": null}), at("null ", document, "not be null")),
        (json!({"KeyEncryptionAlgorithm": null}), at("null ", algorithm, "not be null")),
        (json!({"AttestationDocument": ""}), at("", document, "have length greater than or equal to 1")),
        (json!({"AttestationDocument": long}), at("", document, "have length less than or equal to 262144")),
        (
            json!({"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}),
            at("'RSAES_OAEP_SHA_1' ", algorithm, "satisfy enum value set: [RSAES_OAEP_SHA_256]"),
        ),
    ] {
        let text = format!("1 validation error detected: {fault}");
        world.refuse("Decrypt", request(with(attester.recipient(), change)), "ValidationException", &text).await;
    }
    // A member that is misspelt is none, and then two are missing; nothing of it is ignored.
    let answer = world.call("Decrypt", request(json!({"attestationDocument": "AAAA"}))).await;
    assert_eq!(answer.code(), "ValidationException");
    let number = json!({"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": 1});
    let text = "NUMBER_VALUE can not be converted to a String";
    world.refuse("Decrypt", request(number), "SerializationException", text).await;
}

#[tokio::test]
async fn a_dry_run_looks_at_the_recipient_too() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    for (platform, code) in [(attester, "DryRunOperationException"), (Attester::new(), "ValidationException")] {
        let request = json!({"CiphertextBlob": blob, "DryRun": true, "Recipient": platform.recipient()});
        assert_eq!(world.call("Decrypt", request).await.code(), code);
    }
}

#[tokio::test]
async fn who_may_not_decrypt_may_not_for_a_recipient() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let key = world.key().await;
    let request = |recipient: Value| json!({"KeyId": key, "CiphertextBlob": "AAAA", "Recipient": recipient});
    let nobody = world.as_user(&[]).await;
    // Policies may ask for measurements, so a document is verified before anybody is authorized.
    let cases =
        [(attester.recipient(), "AccessDeniedException"), (Attester::new().recipient(), "ValidationException")];
    for (recipient, code) in cases {
        assert_eq!(nobody.call("Decrypt", request(recipient)).await.code(), code);
    }
    let denied = nobody.call("Decrypt", request(attester.recipient())).await;
    assert_eq!(denied.records[0]["additionalEventData"]["denialReason"], "NoIdentityPolicyAllows");
    assert!(denied.records[0]["additionalEventData"]["recipient"].is_object(), "who it was for is told");
}

#[tokio::test]
async fn an_hsm_without_oaep_with_sha_256_refuses_recipients() {
    let strict = open_hsm(hsm::Settings { allow_raw_rsa: false, ..token() });
    if strict.profiles()[0].oaep_sha256 == OaepMethod::Native {
        return skip("the HSM does OAEP with SHA-256");
    }
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).hsm(&strict).open().await;
    let blob = world.encrypt(&world.key().await, b"attack at dawn").await;
    let request = json!({"CiphertextBlob": blob, "Recipient": attester.recipient()});
    let text = "Recipient is not supported: the HSM does not do RSAES_OAEP_SHA_256.";
    world.refuse("Decrypt", request, "ValidationException", text).await;
}

#[tokio::test]
async fn a_context_is_no_matter_for_rsa() {
    let world = World::new().await;
    let request = json!({
        "KeyId": world.rsa().await, "CiphertextBlob": base64(&[1; 256]), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1",
        "EncryptionContext": {"a": "b"},
    });
    assert_eq!(world.call("Decrypt", request).await.code(), "ValidationException");
}
