//! GetParametersForImport: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use strongroom::{
    clock::Clock,
    key::spec::{KeySpec, KeyUsage},
};

use super::{About, KEY, Kind, Names, States, Subject, import_key_material::{external, imports}, must};
use crate::world::{World, text};

const STATES: States = [0, 0, 3, 3, 0, 0, 14, 15];

pub const ALGORITHMS: Kind = Kind::Word(&[
    "RSAES_OAEP_SHA_256",
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
]);

pub const SUBJECT: Subject = Subject {
    name: "GetParametersForImport",
    members: &[
        must("KeyId", KEY),
        must("WrappingAlgorithm", ALGORITHMS),
        must("WrappingKeySpec", Kind::Word(&["RSA_2048", "RSA_3072", "RSA_4096", "SM2"])),
    ],
    request: |things| {
        json!({"KeyId": things.key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"})
    },
    about: About::External,
    key: Some(("KeyId", Names::IdOrArn)),
    states: STATES,
};

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    for (spec, public_bytes) in [("RSA_2048", 294), ("RSA_4096", 550)] {
        let request = json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": spec});
        let answer = world.ok("GetParametersForImport", request).await;
        assert_eq!(answer["KeyId"], world.arn_of(&key));
        assert_eq!(STANDARD.decode(text(&answer, "PublicKey")).unwrap().len(), public_bytes);
        let token = STANDARD.decode(text(&answer, "ImportToken")).unwrap();
        assert!(token.len() <= 6144, "ImportKeyMaterial takes no longer one: {}", token.len());
        let day = 24.0 * 60.0 * 60.0;
        assert_eq!(answer["ParametersValidTo"].as_f64().unwrap(), world.clock.now().epoch_seconds() + day);
    }
}

#[tokio::test]
async fn only_a_key_whose_material_is_imported_has_parameters() {
    let world = World::new().await;
    let key = world.key().await;
    let request = json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"});
    let message = format!("{} origin is AWS_KMS which is not valid for this operation.", world.arn_of(&key));
    world.refuse("GetParametersForImport", request, "UnsupportedOperationException", &message).await;
}

#[tokio::test]
async fn an_algorithm_carries_what_it_is_long_enough_for() {
    let world = World::new().await;
    for (spec, usage, algorithm, wrapping) in [
        (KeySpec::Rsa2048, KeyUsage::SignVerify, "RSAES_OAEP_SHA_1", "RSA_4096"),
        (KeySpec::EccNistP521, KeyUsage::SignVerify, "RSAES_OAEP_SHA_256", "RSA_2048"),
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, "RSAES_PKCS1_V1_5", "RSA_2048"),
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, "SM2PKE", "SM2"),
    ] {
        if !imports(spec, usage) {
            continue;
        }
        let key = external(&world, spec, usage).await;
        let request = json!({"KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": wrapping});
        assert_eq!(world.call("GetParametersForImport", request).await.code(), "ValidationException", "{algorithm}");
    }
}
