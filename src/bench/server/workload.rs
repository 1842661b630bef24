//! The request of each operation that can be measured.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{client::Client, keys::Key};
use crate::cli::bench::BenchOperation;

/// The body of a request of `operation`, with random data of so many bytes. What it needs of the server, such as a ciphertext
/// that can be decrypted, is asked for. Only GenerateRandom goes without a key.
///
/// # Errors
/// If the key is not for such an operation, or the server does not give what is needed.
pub async fn body(client: &Client, operation: BenchOperation, key: Option<&Key>, bytes: u16) -> Result<Value, String> {
    use BenchOperation::*;
    let size = json!({ "NumberOfBytes": bytes });
    let Some(key) = key else { return Ok(size) };
    let id = &key.id;
    Ok(match operation {
        Encrypt => encrypt(key, bytes)?,
        Decrypt => {
            let request = encrypt(key, bytes)?;
            let sealed = client.ask("Encrypt", &request).await?;
            json!({ "KeyId": id, "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionAlgorithm": request["EncryptionAlgorithm"] })
        }
        GenerateDataKey => json!({ "KeyId": id, "NumberOfBytes": bytes }),
        GenerateDataKeyPair => json!({ "KeyId": id, "KeyPairSpec": "ECC_NIST_P256" }),
        GenerateRandom => size,
        GenerateMac => mac(key, bytes)?,
        VerifyMac => with_answer(client, "GenerateMac", mac(key, bytes)?, "Mac").await?,
        Sign => sign(key, bytes)?,
        Verify => with_answer(client, "Sign", sign(key, bytes)?, "Signature").await?,
        DescribeKey => json!({ "KeyId": id }),
    })
}

fn encrypt(key: &Key, bytes: u16) -> Result<Value, String> {
    let algorithm = key.algorithm("EncryptionAlgorithms")?;
    Ok(json!({ "KeyId": key.id, "Plaintext": random(bytes)?, "EncryptionAlgorithm": algorithm }))
}

fn mac(key: &Key, bytes: u16) -> Result<Value, String> {
    Ok(json!({ "KeyId": key.id, "Message": random(bytes)?, "MacAlgorithm": key.algorithm("MacAlgorithms")? }))
}

fn sign(key: &Key, bytes: u16) -> Result<Value, String> {
    Ok(json!({ "KeyId": key.id, "Message": random(bytes)?, "SigningAlgorithm": key.algorithm("SigningAlgorithms")? }))
}

/// The request, and in it the member of the answer to it that is to be verified.
async fn with_answer(client: &Client, operation: &str, mut request: Value, member: &str) -> Result<Value, String> {
    let answer = client.ask(operation, &request).await?;
    request[member] = answer[member].clone();
    Ok(request)
}

fn random(bytes: u16) -> Result<String, String> {
    let mut data = vec![0; bytes.into()];
    getrandom::fill(&mut data).map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(data))
}
