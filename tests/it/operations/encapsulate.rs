//! Encapsulate: a secret for the holder of the private key.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use spki::{SubjectPublicKeyInfoRef, der::Decode};
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, may, must};
use crate::skip::skip_in_part;
use crate::world::{World, base64, hsm, text};

pub const SUBJECT: Subject = Subject {
    name: "Encapsulate",
    members: &[
        must("KeyId", KEY),
        must("EncapsulationAlgorithm", Kind::Word(&["ML_KEM"])),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| json!({"KeyId": things.key, "EncapsulationAlgorithm": "ML_KEM"}),
    about: About::Encapsulation,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

/// Key specs that encapsulate, with the length of a ciphertext, as far as the HSM has them.
pub fn kem_specs() -> Vec<(KeySpec, usize)> {
    let all = [(KeySpec::MlKem512, 768), (KeySpec::MlKem768, 1088), (KeySpec::MlKem1024, 1568)];
    let has = |(spec, _): &(KeySpec, usize)| hsm().supports(*spec, KeyUsage::EncapsulateDecapsulate).unwrap();
    let (can, cannot): (Vec<_>, Vec<_>) = all.into_iter().partition(has);
    cannot.iter().for_each(|(spec, _)| skip_in_part(&format!("the HSM has no keys of {spec}")));
    can
}

#[tokio::test]
async fn the_private_key_comes_to_the_same_secret() {
    let world = World::new().await;
    for (spec, bytes) in kem_specs() {
        let made = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": "ENCAPSULATE_DECAPSULATE"})).await;
        let key = &made["KeyMetadata"]["KeyId"];
        let one = world.ok("Encapsulate", json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"})).await;
        assert_eq!(super::generate_data_key::decoded(&one, "SharedSecretCiphertextBlob"), bytes);
        let blob = &one["SharedSecretCiphertextBlob"];
        let request = json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob});
        assert_eq!(world.ok("Decapsulate", request).await["SharedSecret"], one["SharedSecret"]);
    }
}

/// Who has nothing but the public key makes a secret by another implementation; the HSM comes to the same.
#[tokio::test]
async fn a_secret_that_was_made_elsewhere_is_found_here() {
    let world = World::new().await;
    for (spec, _) in kem_specs() {
        let made = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": "ENCAPSULATE_DECAPSULATE"})).await;
        let key = &made["KeyMetadata"]["KeyId"];
        let spki = STANDARD.decode(text(&world.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey")).unwrap();
        let public = SubjectPublicKeyInfoRef::from_der(&spki).unwrap().subject_public_key.raw_bytes();
        macro_rules! encapsulate {
            ($public:ident) => {{
                let theirs = ml_kem::$public::new(&public.try_into().unwrap()).unwrap();
                let (blob, secret) = theirs.encapsulate_deterministic(&[7; 32].into());
                (blob.to_vec(), secret.to_vec())
            }};
        }
        let (blob, secret) = match spec {
            KeySpec::MlKem512 => encapsulate!(EncapsulationKey512),
            KeySpec::MlKem768 => encapsulate!(EncapsulationKey768),
            _ => encapsulate!(EncapsulationKey1024),
        };
        let request =
            json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": base64(&blob)});
        assert_eq!(text(&world.ok("Decapsulate", request).await, "SharedSecret"), base64(&secret), "{spec}");
    }
}

#[tokio::test]
async fn an_hsm_without_ml_kem_makes_no_such_keys() {
    let world = World::new().await;
    let request = json!({"KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE"});
    let expected = if kem_specs().is_empty() { "UnsupportedOperationException" } else { "" };
    assert_eq!(world.call("CreateKey", request).await.code(), expected);
}

#[tokio::test]
async fn another_key_encapsulates_nothing() {
    let world = World::new().await;
    let key = world.key().await;
    let message = format!("{} key usage is ENCRYPT_DECRYPT which is not valid for Encapsulate.", world.arn_of(&key));
    let request = json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"});
    world.refuse("Encapsulate", request, "InvalidKeyUsageException", &message).await;
}
