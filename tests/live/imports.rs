//! Key material that somebody brings.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{oaep::oaep, server::Server};

/// A new key that waits for its material, and the request that imports it.
pub fn external_key(server: &Server) -> (String, Value) {
    let made = server.done("CreateKey", &json!({"Origin": "EXTERNAL"}));
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let wanted = json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"});
    let parameters = server.done("GetParametersForImport", &wanted);
    let public = STANDARD.decode(parameters["PublicKey"].as_str().unwrap()).unwrap();
    let request = json!({
        "KeyId": key,
        "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": STANDARD.encode(oaep(&public, "sha1", &[7; 32])),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    (key, request)
}
