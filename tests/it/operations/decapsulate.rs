//! Decapsulate: the secret that Encapsulate made.

use serde_json::json;

use super::{About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE, encapsulate::kem_specs, may, must};
use crate::world::{World, base64};

pub const SUBJECT: Subject = Subject {
    name: "Decapsulate",
    members: &[
        must("KeyId", KEY),
        must("SharedSecretCiphertextBlob", Kind::Blob(1, 6144)),
        must("EncapsulationAlgorithm", Kind::Word(&["ML_KEM"])),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| {
        json!({"KeyId": things.key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": things.blob})
    },
    about: About::Encapsulation,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn only_the_length_of_a_ciphertext_is_ever_wrong() {
    let world = World::new().await;
    for (spec, bytes) in kem_specs() {
        let made = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": "ENCAPSULATE_DECAPSULATE"})).await;
        let request = |blob: &[u8]| {
            let key = &made["KeyMetadata"]["KeyId"];
            json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": base64(blob)})
        };
        // Implicit rejection: a secret that is nobody else's.
        world.ok("Decapsulate", request(&vec![7; bytes])).await;
        for length in [1, bytes - 1, bytes + 1] {
            world.refuse("Decapsulate", request(&vec![7; length]), "InvalidCiphertextException", "").await;
        }
    }
}

#[tokio::test]
async fn another_key_decapsulates_nothing() {
    let world = World::new().await;
    let key = world.key().await;
    let message = format!("{} key usage is ENCRYPT_DECRYPT which is not valid for Decapsulate.", world.arn_of(&key));
    let request = json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": "AAAA"});
    world.refuse("Decapsulate", request, "InvalidKeyUsageException", &message).await;
}
