//! Sign: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use ring::signature as others;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::{SubjectPublicKeyInfoRef, der::Decode};
use strongroom::key::{
    algorithm::{Algorithm, SigningAlgorithm},
    spec::{KeySpec, KeyUsage},
};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::skip::skip_in_part;
use crate::world::{Keeping, World, base64, hsm, text, with};

pub const SIGNING: Kind = Kind::Word(&[
    "ECDSA_SHA_256",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
]);
pub const MESSAGE_TYPE: Kind = Kind::Word(&["RAW", "DIGEST", "EXTERNAL_MU"]);

pub const SUBJECT: Subject = Subject {
    name: "Sign",
    members: &[
        must("KeyId", KEY),
        must("Message", Kind::Plaintext),
        may("MessageType", MESSAGE_TYPE),
        may("GrantTokens", GRANT_TOKENS),
        must("SigningAlgorithm", SIGNING),
        may("DryRun", Kind::Bool),
    ],
    request: |things| {
        let message = base64(b"a message");
        json!({"KeyId": things.key, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"})
    },
    about: About::Signing,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

/// Every key spec that signs, and that this HSM has.
pub fn signing_specs() -> Vec<KeySpec> {
    let signs = |spec: &&KeySpec| spec.usages().contains(&KeyUsage::SignVerify) && **spec != KeySpec::Sm2;
    let (can, cannot): (Vec<_>, Vec<_>) =
        KeySpec::ALL.iter().filter(signs).partition(|spec| hsm().supports(**spec, KeyUsage::SignVerify).unwrap());
    cannot.iter().for_each(|spec| skip_in_part(&format!("the HSM has no keys of {spec}")));
    // Longer RSA keys take seconds to make, and differ in nothing else.
    can.into_iter().filter(|spec| !matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096)).collect()
}

/// A type of message that an algorithm takes, and `message` in it.
pub fn whole(algorithm: SigningAlgorithm, message: &[u8]) -> Value {
    match algorithm {
        SigningAlgorithm::Ed25519PhSha512 => {
            json!({"Message": base64(&Sha512::digest(message)), "MessageType": "DIGEST"})
        }
        _ => json!({"Message": base64(message)}),
    }
}

/// Whether the HSM really does Ed25519ph, which some only say.
pub fn offered(algorithm: SigningAlgorithm) -> bool {
    let profiles = hsm().profiles();
    let prehashes = || profiles[0].outcome("ED25519_PH_SHA_512") == Some(&strongroom::hsm::TrialOutcome::Ok);
    let offered = algorithm != SigningAlgorithm::Ed25519PhSha512 || prehashes();
    if !offered {
        skip_in_part(&format!("the HSM does not do {algorithm}"));
    }
    offered
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "RSASSA_PSS_SHA_256"});
    world.check("Sign", request, expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "Signature": "256 bytes",
          "SigningAlgorithm": "RSASSA_PSS_SHA_256"
        }"#]]).await;
}

#[tokio::test]
async fn everybody_can_verify_what_is_signed() {
    let mut verified = 0;
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        for spec in signing_specs() {
            let key = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": "SIGN_VERIFY"})).await;
            let arn = &key["KeyMetadata"]["Arn"];
            for algorithm in SigningAlgorithm::of(spec).iter().copied().filter(|algorithm| offered(*algorithm)) {
                let request = with(whole(algorithm, b"a message"), json!({"KeyId": arn, "SigningAlgorithm": algorithm}));
                let signed = world.ok("Sign", request.clone()).await;
                let verify = with(request, json!({"Signature": signed["Signature"]}));
                assert_eq!(world.ok("Verify", verify).await["SignatureValid"], true, "{spec} {algorithm}");
                let spki = text(&world.ok("GetPublicKey", json!({"KeyId": arn})).await, "PublicKey");
                verified += usize::from(verifies(spec, algorithm, &spki, &text(&signed, "Signature")));
            }
        }
    }
    println!("{verified} signatures verified by other implementations");
    assert!(verified >= 2 * 9, "{verified}");
}

/// Whether another implementation that knows the algorithm verifies the signature; false if none knows it.
fn verifies(spec: KeySpec, algorithm: SigningAlgorithm, spki: &str, signature: &str) -> bool {
    use SigningAlgorithm::*;
    let (der, signature) = (STANDARD.decode(spki).unwrap(), STANDARD.decode(signature).unwrap());
    let info = SubjectPublicKeyInfoRef::from_der(&der).unwrap();
    let bytes = info.subject_public_key.raw_bytes();
    let by: &dyn others::VerificationAlgorithm = match (algorithm, spec) {
        (RsassaPkcs1V15Sha256, _) => &others::RSA_PKCS1_2048_8192_SHA256,
        (RsassaPkcs1V15Sha384, _) => &others::RSA_PKCS1_2048_8192_SHA384,
        (RsassaPkcs1V15Sha512, _) => &others::RSA_PKCS1_2048_8192_SHA512,
        (RsassaPssSha256, _) => &others::RSA_PSS_2048_8192_SHA256,
        (RsassaPssSha384, _) => &others::RSA_PSS_2048_8192_SHA384,
        (RsassaPssSha512, _) => &others::RSA_PSS_2048_8192_SHA512,
        (EcdsaSha256, KeySpec::EccNistP256) => &others::ECDSA_P256_SHA256_ASN1,
        (EcdsaSha384, _) => &others::ECDSA_P384_SHA384_ASN1,
        (Ed25519Sha512, _) => &others::ED25519,
        (EcdsaSha256, _) => {
            use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
            // Bitcoin's habit, which AWS's signatures do not have.
            let signature = Signature::from_der(&signature).unwrap().normalize_s();
            VerifyingKey::from_sec1_bytes(bytes).unwrap().verify(b"a message", &signature).unwrap();
            return true;
        }
        (EcdsaSha512, _) => {
            use p521::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
            let signature = DerSignature::try_from(&signature[..]).unwrap();
            VerifyingKey::from_sec1_bytes(bytes).unwrap().verify(b"a message", &signature).unwrap();
            return true;
        }
        (MlDsaShake256, _) => return ml_dsa_verifies(spec, bytes, &signature),
        _ => return false,
    };
    others::UnparsedPublicKey::new(by, bytes).verify(b"a message", &signature).unwrap();
    true
}

fn ml_dsa_verifies(spec: KeySpec, public: &[u8], signature: &[u8]) -> bool {
    use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, Signature, VerifyingKey, signature::Verifier};
    macro_rules! verify {
        ($set:ty) => {{
            let key = VerifyingKey::<$set>::decode(&public.try_into().unwrap());
            key.verify(b"a message", &Signature::<$set>::try_from(signature).unwrap()).unwrap();
        }};
    }
    match spec {
        KeySpec::MlDsa44 => verify!(MlDsa44),
        KeySpec::MlDsa65 => verify!(MlDsa65),
        _ => verify!(MlDsa87),
    }
    true
}

#[tokio::test]
async fn a_digest_is_signed_like_its_message() {
    let world = World::new().await;
    for (spec, algorithm, digest) in [
        (KeySpec::Rsa2048, "RSASSA_PKCS1_V1_5_SHA_256", Sha256::digest(b"m").to_vec()),
        (KeySpec::Rsa2048, "RSASSA_PSS_SHA_384", Sha384::digest(b"m").to_vec()),
        (KeySpec::Rsa2048, "RSASSA_PSS_SHA_512", Sha512::digest(b"m").to_vec()),
        (KeySpec::EccNistP521, "ECDSA_SHA_512", Sha512::digest(b"m").to_vec()),
    ] {
        let key = json!({"KeyId": world.plant(spec, KeyUsage::SignVerify).await, "SigningAlgorithm": algorithm});
        let digest = with(key.clone(), json!({"Message": base64(&digest), "MessageType": "DIGEST"}));
        let raw = with(key, json!({"Message": base64(b"m"), "MessageType": "RAW"}));
        for (signed, verified) in [(&digest, &raw), (&raw, &digest)] {
            let signature = world.ok("Sign", signed.clone()).await["Signature"].clone();
            world.ok("Verify", with(verified.clone(), json!({"Signature": signature}))).await;
        }
    }
}

/// What Sign and Verify refuse alike.
pub async fn messages_that_do_not_fit(operation: &str, more: Value) {
    let world = World::new().await;
    let rsa = world.plant(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let edwards = world.plant(KeySpec::EccNistEdwards25519, KeyUsage::SignVerify).await;
    for (key, algorithm, message_type, bytes, refusal) in [
        (&rsa, "RSASSA_PSS_SHA_256", "DIGEST", 31, "Digest is invalid length for algorithm RSASSA_PSS_SHA_256."),
        (&rsa, "RSASSA_PSS_SHA_512", "DIGEST", 32, "Digest is invalid length for algorithm RSASSA_PSS_SHA_512."),
        (
            &rsa,
            "RSASSA_PSS_SHA_512",
            "EXTERNAL_MU",
            64,
            "Message type EXTERNAL_MU is incompatible with key spec RSA_2048.",
        ),
        (
            &edwards,
            "ED25519_SHA_512",
            "DIGEST",
            64,
            "Message type DIGEST is incompatible with algorithm ED25519_SHA_512.",
        ),
        (
            &edwards,
            "ED25519_PH_SHA_512",
            "RAW",
            64,
            "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512.",
        ),
    ] {
        let message = base64(&vec![7; bytes]);
        let request =
            json!({"KeyId": key, "SigningAlgorithm": algorithm, "MessageType": message_type, "Message": message});
        let answer = world.call(operation, with(request, more.clone())).await;
        if hsm().supports(KeySpec::EccNistEdwards25519, KeyUsage::SignVerify).unwrap() || key == &rsa {
            assert_eq!(answer.refusal(), (400, "ValidationException".to_owned(), refusal.to_owned()));
        }
    }
}

/// Keys and algorithms that do not go together.
pub async fn other_keys(operation: &str, more: Value) {
    let world = World::new().await;
    let request = |key: &str, algorithm: &str| {
        with(json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": algorithm}), more.clone())
    };
    let curve = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let message = "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.";
    world.refuse(operation, request(&curve, "ECDSA_SHA_384"), "InvalidKeyUsageException", message).await;
    let agreement = world.plant(KeySpec::EccNistP256, KeyUsage::KeyAgreement).await;
    for (key, usage) in [(world.key().await, "ENCRYPT_DECRYPT"), (agreement, "KEY_AGREEMENT")] {
        let message = format!("{} key usage is {usage} which is not valid for {operation}.", world.arn_of(&key));
        world.refuse(operation, request(&key, "ECDSA_SHA_256"), "InvalidKeyUsageException", &message).await;
    }
}

#[tokio::test]
async fn a_message_must_be_of_its_type() {
    messages_that_do_not_fit("Sign", json!({})).await;
}

#[tokio::test]
async fn the_key_must_fit() {
    other_keys("Sign", json!({})).await;
}
