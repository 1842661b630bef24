//! GenerateDataKeyPair: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyPair.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use spki::{SubjectPublicKeyInfoRef, der::Decode};
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::{
    attester::{Attester, Laptop},
    skip::skip_in_part,
    world::{World, blob_of, hsm, text, with},
};

pub const PAIR_SPEC: Kind = Kind::Word(&[
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "ECC_NIST_EDWARDS25519",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "SM2",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]);

pub const SUBJECT: Subject = Subject {
    name: "GenerateDataKeyPair",
    members: &[
        may("EncryptionContext", Kind::Context),
        must("KeyId", KEY),
        must("KeyPairSpec", PAIR_SPEC),
        may("GrantTokens", GRANT_TOKENS),
        may("Recipient", Kind::Structure),
        may("DryRun", Kind::Bool),
    ],
    // The one that every HSM gives away.
    request: |things| json!({"KeyId": things.key, "KeyPairSpec": "ECC_NIST_EDWARDS25519"}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

/// Pairs that this HSM makes.
pub fn pair_specs() -> Vec<&'static str> {
    let all = [
        ("RSA_2048", KeySpec::Rsa2048),
        ("ECC_NIST_P256", KeySpec::EccNistP256),
        ("ECC_NIST_P384", KeySpec::EccNistP384),
        ("ECC_NIST_P521", KeySpec::EccNistP521),
        ("ECC_SECG_P256K1", KeySpec::EccSecgP256k1),
    ];
    let (can, cannot): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, spec)| hsm().wraps(*spec, KeyUsage::SignVerify));
    cannot.iter().for_each(|(name, _)| skip_in_part(&format!("the HSM lets no pairs of {name} out")));
    let seeds = ["ECC_NIST_EDWARDS25519", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"];
    can.into_iter().map(|(name, _)| name).chain(seeds).collect()
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeyPairSpec": "ECC_NIST_EDWARDS25519"});
    world.check("GenerateDataKeyPair", request, expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "KeyMaterialId": "MATERIAL",
          "KeyPairSpec": "ECC_NIST_EDWARDS25519",
          "PrivateKeyCiphertextBlob": "127 bytes",
          "PrivateKeyPlaintext": "48 bytes",
          "PublicKey": "44 bytes"
        }"#]]).await;
}

#[tokio::test]
async fn the_halves_belong_together_and_the_blob_opens_to_the_private_key() {
    let world = World::new().await;
    let key = world.key().await;
    let context = json!({"a": "b"});
    for spec in pair_specs() {
        let request = json!({"KeyId": key, "KeyPairSpec": spec, "EncryptionContext": context});
        let made = world.ok("GenerateDataKeyPair", request).await;
        halves_belong_together(spec, &made);
        let request = json!({"CiphertextBlob": made["PrivateKeyCiphertextBlob"], "EncryptionContext": context});
        assert_eq!(world.ok("Decrypt", request).await["Plaintext"], made["PrivateKeyPlaintext"], "{spec}");
    }
}

/// By other implementations, which read the private key and make the public one of it.
fn halves_belong_together(spec: &str, made: &Value) {
    let private = STANDARD.decode(text(made, "PrivateKeyPlaintext")).unwrap();
    let spki = STANDARD.decode(text(made, "PublicKey")).unwrap();
    let public = SubjectPublicKeyInfoRef::from_der(&spki).unwrap().subject_public_key.raw_bytes().to_vec();
    let random = SystemRandom::new();
    if spec.starts_with("ML_KEM") {
        return ml_kem_halves(spec, &private, &public);
    }
    let derived = match spec {
        "ECC_NIST_P256" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private, &random).unwrap();
            pair.public_key().as_ref().to_vec()
        }
        "ECC_NIST_P384" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &private, &random).unwrap();
            pair.public_key().as_ref().to_vec()
        }
        "ECC_NIST_P521" => {
            use p521::pkcs8::DecodePrivateKey;
            p521::SecretKey::from_pkcs8_der(&private).unwrap().public_key().to_sec1_bytes().to_vec()
        }
        "ECC_SECG_P256K1" => {
            use k256::pkcs8::DecodePrivateKey;
            k256::SecretKey::from_pkcs8_der(&private).unwrap().public_key().to_sec1_bytes().to_vec()
        }
        "ECC_NIST_EDWARDS25519" => {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).unwrap().public_key().as_ref().to_vec()
        }
        _ => ring::rsa::KeyPair::from_pkcs8(&private).unwrap().public().as_ref().to_vec(),
    };
    if spec == "ECC_SECG_P256K1" || spec == "ECC_NIST_P521" {
        // Their own way to write a point is compressed.
        assert_eq!(derived[1..], public[1..derived.len()], "{spec}");
    } else {
        assert_eq!(derived, public, "{spec}");
    }
}

/// A secret for the public key is what the private key, in the form of a seed, comes to.
fn ml_kem_halves(spec: &str, private: &[u8], public: &[u8]) {
    let (head, seed) = private.split_at(private.len() - 64);
    assert_eq!((private.len(), &head[head.len() - 2..]), (86, &[0x80, 64][..]), "the same for all three");
    use ml_kem::kem::Decapsulate;
    macro_rules! agree {
        ($private:ident, $public:ident) => {{
            let theirs = ml_kem::$public::new(&public.try_into().unwrap()).unwrap();
            let (blob, secret) = theirs.encapsulate_deterministic(&[7; 32].into());
            assert_eq!(ml_kem::$private::from_seed(seed.try_into().unwrap()).decapsulate(&blob), secret);
        }};
    }
    match spec {
        "ML_KEM_512" => agree!(DecapsulationKey512, EncapsulationKey512),
        "ML_KEM_768" => agree!(DecapsulationKey768, EncapsulationKey768),
        _ => agree!(DecapsulationKey1024, EncapsulationKey1024),
    }
}

#[tokio::test]
async fn no_pair_comes_twice() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "KeyPairSpec": "ECC_NIST_EDWARDS25519"});
    let one = world.ok("GenerateDataKeyPair", request.clone()).await;
    assert_ne!(one["PublicKey"], world.ok("GenerateDataKeyPair", request).await["PublicKey"]);
}

/// Only a symmetric key encrypts private keys, and SM2 is China's.
pub async fn what_is_refused(operation: &str) {
    let world = World::new().await;
    let request = json!({"KeyPairSpec": "ECC_NIST_P256"});
    let rsa = with(request.clone(), json!({"KeyId": world.rsa().await}));
    assert_eq!(world.call(operation, rsa).await.code(), "InvalidKeyUsageException");
    let mac = world.plant(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let message =
        format!("{} key usage is GENERATE_VERIFY_MAC which is not valid for {operation}.", world.arn_of(&mac));
    world.refuse(operation, with(request, json!({"KeyId": mac})), "InvalidKeyUsageException", &message).await;
    let sm2 = json!({"KeyPairSpec": "SM2", "KeyId": world.key().await});
    assert_eq!(world.call(operation, sm2).await.code(), "UnsupportedOperationException");
}

#[tokio::test]
async fn other_keys_and_pairs() {
    what_is_refused("GenerateDataKeyPair").await;
}

#[tokio::test]
async fn a_recipient_gets_the_private_key_and_the_caller_only_its_ciphertext() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let key = world.key().await;
    // Ed25519, and the longest of them.
    for spec in ["ECC_NIST_EDWARDS25519", "RSA_4096"].into_iter().filter(|spec| *spec != "RSA_4096" || makes_rsa()) {
        let request = json!({"KeyId": key, "KeyPairSpec": spec, "Recipient": attester.recipient()});
        let answer = world.ok("GenerateDataKeyPair", request.clone()).await;
        assert!(answer.get("PrivateKeyPlaintext").is_none() && answer.get("KeyMaterialId").is_none());
        let private_key = Laptop::get().open(&blob_of(&answer, "CiphertextForRecipient"));
        let opened = world.ok("Decrypt", json!({"CiphertextBlob": answer["PrivateKeyCiphertextBlob"]})).await;
        assert_eq!(blob_of(&opened, "Plaintext"), private_key);
        let other = with(request, json!({"DryRun": true, "Recipient": Attester::new().recipient()}));
        assert_eq!(world.call("GenerateDataKeyPair", other).await.code(), "ValidationException");
    }
}

fn makes_rsa() -> bool {
    hsm().wraps(KeySpec::Rsa4096, KeyUsage::SignVerify)
}
