//! ImportKeyMaterial: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html>.
//!
//! What is imported is encrypted by OpenSSL and by RustCrypto, and what the key then does is held against them.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use aes_kw::{KeyInit, KwpAes256};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::Mac;
use p256::pkcs8::{DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use serde_json::{Value, json};
use strongroom::{
    clock::Clock,
    key::{
        spec::{KeySpec, KeyUsage},
        state::KeyState,
    },
};

use super::{About, KEY, Kind, Names, States, Subject, may, must};
use crate::oaep::oaep;
use crate::skip::skip_in_part;
use crate::world::{Caller, Keeping, World, base64, hsm, logged, text, with};

const STATES: States = [0, 0, 3, 3, 0, 0, 14, 0];

pub const SUBJECT: Subject = Subject {
    name: "ImportKeyMaterial",
    members: &[
        must("KeyId", KEY),
        must("ImportToken", Kind::Blob(1, 6144)),
        must("EncryptedKeyMaterial", Kind::Blob(1, 6144)),
        may("ValidTo", Kind::Time),
        may("ExpirationModel", Kind::Word(&["KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES"])),
        may("ImportType", Kind::Word(&["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"])),
        may("KeyMaterialDescription", Kind::Pattern(0, 256, 'a', "^[a-zA-Z0-9:/_\\s.-]+$")),
        may("KeyMaterialId", Kind::Pattern(64, 64, 'a', "^[a-f0-9]+$")),
    ],
    request: |things| request(&things.key, &things.token, &things.blob),
    about: About::External,
    key: Some(("KeyId", Names::IdOrArn)),
    states: STATES,
};

pub fn request(key: &str, token: &str, blob: &str) -> Value {
    json!({
        "KeyId": key, "ImportToken": token, "EncryptedKeyMaterial": blob,
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    })
}

/// A key that waits for its material.
pub async fn external(world: &World, spec: KeySpec, usage: KeyUsage) -> String {
    let request = json!({"KeySpec": spec, "KeyUsage": usage, "Origin": "EXTERNAL"});
    let made = world.ok("CreateKey", request).await;
    assert_eq!((&made["KeyMetadata"]["KeyState"], &made["KeyMetadata"]["Enabled"]), (&json!("PendingImport"), &json!(false)));
    text(&made["KeyMetadata"], "KeyId")
}

/// Whether keys of this kind can be imported here: what the HSM does not unwrap, it does not take in.
pub fn imports(spec: KeySpec, usage: KeyUsage) -> bool {
    let can = hsm().supports(spec, usage).unwrap() && hsm().wraps(spec, usage);
    if !can {
        skip_in_part(&format!("the HSM unwraps no keys of {spec}"));
    }
    can
}

/// Material for a key, encrypted, and the token to import it with.
pub async fn parcel(world: &World, key: &str, material: &[u8]) -> (String, String) {
    parcel_by(world, key, "RSAES_OAEP_SHA_1", material).await
}

/// The same by this algorithm.
pub async fn parcel_by(world: &World, key: &str, algorithm: &str, material: &[u8]) -> (String, String) {
    parcel_for(world, key, algorithm, material).await
}

/// The same for this caller.
pub async fn parcel_for(world: &Caller, key: &str, algorithm: &str, material: &[u8]) -> (String, String) {
    let (public, token) = parameters(world, key, algorithm).await;
    (enclosed(&public, algorithm, material), token)
}

/// A public key to enclose material with, and the token to import it with: both serve as many tries as there are.
async fn parameters(world: &Caller, key: &str, algorithm: &str) -> (Vec<u8>, String) {
    let request = json!({"KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"});
    let parameters = world.ok("GetParametersForImport", request).await;
    (STANDARD.decode(text(&parameters, "PublicKey")).unwrap(), text(&parameters, "ImportToken"))
}

fn enclosed(public: &[u8], algorithm: &str, material: &[u8]) -> String {
    let hash = if algorithm.ends_with("SHA_1") { "sha1" } else { "sha256" };
    let blob = match algorithm.starts_with("RSA_AES") {
        false => oaep(public, hash, material),
        true => {
            let mut wrapped = vec![0; material.len().div_ceil(8) * 8 + 8];
            KwpAes256::new(&[3; 32].into()).wrap_key(material, &mut wrapped).unwrap();
            [oaep(public, hash, &[3; 32]), wrapped].concat()
        }
    };
    base64(&blob)
}

/// An RSA-2048 private key by OpenSSL, as PKCS#8.
fn rsa_private_key() -> Vec<u8> {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let out = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut out.stdin.as_ref().unwrap(), &made.stdout).unwrap();
    out.wait_with_output().unwrap().stdout
}

async fn import(world: &World, key: &str, algorithm: &str, material: &[u8]) -> Value {
    let (blob, token) = parcel_by(world, key, algorithm, material).await;
    let imported = world.ok("ImportKeyMaterial", request(key, &token, &blob)).await;
    let described = world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
    assert_eq!((&described["KeyState"], &described["Origin"]), (&json!("Enabled"), &json!("EXTERNAL")));
    imported
}

const ALL: [&str; 4] =
    ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"];

#[tokio::test]
async fn an_hmac_key_makes_the_macs_that_it_makes_elsewhere() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        for algorithm in ALL {
            for bytes in [32, 41, 64] {
                let material: Vec<u8> = (0..bytes).collect();
                let key = external(&world, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
                let imported = import(&world, &key, algorithm, &material).await;
                assert_eq!(imported, json!({"KeyId": world.arn_of(&key)}), "a name is for symmetric keys only");
                let request = json!({"KeyId": key, "Message": base64(b"m"), "MacAlgorithm": "HMAC_SHA_256"});
                let mac = text(&world.ok("GenerateMac", request).await, "Mac");
                let here = hmac::Hmac::<sha2::Sha256>::new_from_slice(&material).unwrap().chain_update(b"m").finalize();
                assert_eq!(mac, base64(&here.into_bytes()), "{algorithm} {bytes}");
            }
        }
    }
}

#[tokio::test]
async fn a_private_key_has_the_public_key_that_it_has_elsewhere() {
    macro_rules! curve {
        ($world:expr, $curve:ident, $spec:expr, $byte:expr, $algorithm:expr) => {{
            if imports($spec, KeyUsage::SignVerify) {
                let size = $spec.curve().unwrap().bytes();
                let mut scalar = vec![$byte; size];
                scalar[0] = 0;
                let secret = $curve::SecretKey::from_slice(&scalar).unwrap();
                let key = external($world, $spec, KeyUsage::SignVerify).await;
                import($world, &key, $algorithm, secret.to_pkcs8_der().unwrap().as_bytes()).await;
                let public = text(&$world.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey");
                let expected = secret.public_key().to_public_key_der().unwrap();
                assert_eq!(public, base64(expected.as_bytes()), "{} {}", $spec, $algorithm);
            }
        }};
    }
    let world = World::new().await;
    for algorithm in ALL {
        // Several, because either point at an x may be the one.
        for byte in [1, 2, 3, 4] {
            curve!(&world, p256, KeySpec::EccNistP256, byte, algorithm);
        }
        curve!(&world, p384, KeySpec::EccNistP384, 5, algorithm);
        curve!(&world, k256, KeySpec::EccSecgP256k1, 6, algorithm);
    }
    for algorithm in &ALL[2..] {
        curve!(&world, p521, KeySpec::EccNistP521, 7, algorithm);
    }
}

#[tokio::test]
async fn an_imported_key_agrees_as_elsewhere() {
    if !imports(KeySpec::EccNistP256, KeyUsage::KeyAgreement) {
        return;
    }
    let world = World::new().await;
    let secret = p256::SecretKey::from_slice(&[9; 32]).unwrap();
    let key = external(&world, KeySpec::EccNistP256, KeyUsage::KeyAgreement).await;
    import(&world, &key, "RSAES_OAEP_SHA_256", secret.to_pkcs8_der().unwrap().as_bytes()).await;
    let peer = p256::SecretKey::from_slice(&[4; 32]).unwrap();
    let public = base64(peer.public_key().to_public_key_der().unwrap().as_bytes());
    let request = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
    let answer = world.ok("DeriveSharedSecret", request).await;
    let expected = p256::elliptic_curve::ecdh::diffie_hellman(
        secret.to_nonzero_scalar(),
        p256::PublicKey::from_public_key_der(&STANDARD.decode(public).unwrap()).unwrap().as_affine(),
    );
    assert_eq!(text(&answer, "SharedSecret"), base64(expected.raw_secret_bytes()));
    assert_eq!(answer["KeyOrigin"], "EXTERNAL");
}

#[tokio::test]
async fn an_rsa_key_signs_and_decrypts() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let material = rsa_private_key();
        let public = ring::rsa::KeyPair::from_pkcs8(&material).unwrap().public().as_ref().to_vec();
        for (usage, algorithm) in
            [(KeyUsage::SignVerify, "RSA_AES_KEY_WRAP_SHA_256"), (KeyUsage::EncryptDecrypt, "RSA_AES_KEY_WRAP_SHA_1")]
        {
            let key = external(&world, KeySpec::Rsa2048, usage).await;
            import(&world, &key, algorithm, &material).await;
            let spki = STANDARD.decode(text(&world.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey")).unwrap();
            assert!(spki.ends_with(&public), "the public half is the key's");
            if usage == KeyUsage::EncryptDecrypt {
                let blob = base64(&oaep(&spki, "sha1", b"plaintext"));
                let request = json!({"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"});
                assert_eq!(world.ok("Decrypt", request).await["Plaintext"], base64(b"plaintext"));
            } else {
                let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "RSASSA_PSS_SHA_256"});
                let signature = STANDARD.decode(text(&world.ok("Sign", request).await, "Signature")).unwrap();
                let verifier = &ring::signature::RSA_PSS_2048_8192_SHA256;
                ring::signature::UnparsedPublicKey::new(verifier, &public).verify(b"m", &signature).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn symmetric_material_has_the_same_name_whenever_it_comes_and_in_no_other_key() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let first = import(&world, &key, ALL[0], &[7; 32]).await;
        let blob = world.encrypt(&key, b"plaintext").await;
        for algorithm in ALL {
            assert_eq!(import(&world, &key, algorithm, &[7; 32]).await, first, "{algorithm}");
        }
        let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(opened["KeyMaterialId"], first["KeyMaterialId"]);
        let described = world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
        assert_eq!(described["CurrentKeyMaterialId"], first["KeyMaterialId"]);
        assert_eq!(described["ExpirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE");
        let other = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let elsewhere = import(&world, &other, ALL[0], &[7; 32]).await;
        assert_ne!(elsewhere["KeyMaterialId"], first["KeyMaterialId"]);
    }
}

#[tokio::test]
async fn other_material_does_not_come_in_its_place() {
    let world = World::new().await;
    let curve = |byte| p256::SecretKey::from_slice(&[byte; 32]).unwrap().to_pkcs8_der().unwrap().as_bytes().to_vec();
    for (spec, usage, material, other) in [
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, vec![7; 32], vec![8; 32]),
        (KeySpec::Hmac512, KeyUsage::GenerateVerifyMac, vec![7; 64], vec![8; 64]),
        (KeySpec::EccNistP256, KeyUsage::SignVerify, curve(1), curve(2)),
    ] {
        if !imports(spec, usage) {
            continue;
        }
        let key = external(&world, spec, usage).await;
        import(&world, &key, ALL[0], &material).await;
        let (blob, token) = parcel(&world, &key, &other).await;
        world.refuse("ImportKeyMaterial", request(&key, &token, &blob), "IncorrectKeyMaterialException", "").await;
        world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await;
        world.refuse("ImportKeyMaterial", request(&key, &token, &blob), "IncorrectKeyMaterialException", "").await;
        import(&world, &key, ALL[0], &material).await;
    }
}

#[tokio::test]
async fn material_of_another_spec_is_not_taken() {
    let world = World::new().await;
    let p384 = p384::SecretKey::from_slice(&[1; 48]).unwrap().to_pkcs8_der().unwrap().as_bytes().to_vec();
    for (spec, usage, material) in [
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, vec![7; 16]),
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, vec![7; 33]),
        (KeySpec::Hmac384, KeyUsage::GenerateVerifyMac, vec![7; 47]),
        (KeySpec::Hmac384, KeyUsage::GenerateVerifyMac, vec![7; 129]),
        (KeySpec::EccNistP256, KeyUsage::SignVerify, p384),
        (KeySpec::EccNistP256, KeyUsage::SignVerify, vec![7; 32]),
        (KeySpec::Rsa3072, KeyUsage::SignVerify, rsa_private_key()),
    ] {
        if !imports(spec, usage) {
            continue;
        }
        let key = external(&world, spec, usage).await;
        for algorithm in ALL {
            let carried = spec != KeySpec::Rsa3072 || algorithm.starts_with("RSA_AES");
            if carried {
                let (blob, token) = parcel_by(&world, &key, algorithm, &material).await;
                let answer = world.call("ImportKeyMaterial", request(&key, &token, &blob)).await;
                // Some HSMs do not say what was wrong with a private key.
                let told = ["IncorrectKeyMaterialException", "InvalidCiphertextException"].contains(&&*answer.code());
                let exact = spec.curve().is_some() || answer.code() == "IncorrectKeyMaterialException";
                assert!(told && exact, "{spec} {algorithm} {}: {}", material.len(), answer.text());
            }
        }
        assert_eq!(world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"]["KeyState"], "PendingImport");
    }
}

#[tokio::test]
async fn material_that_is_not_as_long_as_the_spec_wants_is_incorrect() {
    use KeySpec::*;
    let world = World::new().await;
    for (spec, lengths) in
        [(SymmetricDefault, 32..=32), (Hmac224, 28..=64), (Hmac256, 32..=64), (Hmac384, 48..=128), (Hmac512, 64..=128)]
    {
        let usage = if spec == SymmetricDefault { KeyUsage::EncryptDecrypt } else { KeyUsage::GenerateVerifyMac };
        if !imports(spec, usage) {
            continue;
        }
        let key = external(&world, spec, usage).await;
        for algorithm in ALL {
            let (public, token) = parameters(&world, &key, algorithm).await;
            for length in [0, 1, lengths.start() - 1, lengths.end() + 1] {
                // AES key wrap has nothing to say of nothing (RFC 5649 section 3).
                if length > 0 || algorithm.starts_with("RSAES") {
                    let blob = enclosed(&public, algorithm, &vec![7; length]);
                    let answer = world.call("ImportKeyMaterial", request(&key, &token, &blob)).await;
                    let told = answer.code();
                    // An HSM that unwraps no nothing says of it what it says of a ciphertext that does not open.
                    let is_told = told == "IncorrectKeyMaterialException" || length == 0 && told == "InvalidCiphertextException";
                    assert!(is_told, "{spec} {algorithm} {length}: {}", answer.text());
                }
            }
        }
        for length in [*lengths.start(), *lengths.end()] {
            let key = external(&world, spec, usage).await;
            import(&world, &key, ALL[0], &vec![7; length]).await;
        }
    }
}

/// Nothing, a byte, a private key that lacks its last byte, what only begins like one: never a fault of this HSM or of ours.
#[tokio::test]
async fn what_is_no_private_key_is_the_callers_fault() {
    let world = World::new().await;
    let p256 = p256::SecretKey::from_slice(&[9; 32]).unwrap().to_pkcs8_der().unwrap().as_bytes().to_vec();
    for (spec, material, algorithms) in [(KeySpec::EccNistP256, p256, &ALL[..]), (KeySpec::Rsa2048, rsa_private_key(), &ALL[2..])] {
        if !imports(spec, KeyUsage::SignVerify) {
            continue;
        }
        let key = external(&world, spec, KeyUsage::SignVerify).await;
        let last = material.len() - 1;
        for algorithm in algorithms {
            let (public, token) = parameters(&world, &key, algorithm).await;
            for material in [vec![], vec![7], material[..last].to_vec(), vec![0x30; 60]] {
                if !material.is_empty() || algorithm.starts_with("RSAES") {
                    let blob = enclosed(&public, algorithm, &material);
                    let answer = world.call("ImportKeyMaterial", request(&key, &token, &blob)).await;
                    let told =
                        ["IncorrectKeyMaterialException", "InvalidCiphertextException"].contains(&&*answer.code());
                    assert!(told, "{spec} {algorithm} {}: {}", material.len(), answer.text());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_does_not_unwrap_is_an_invalid_ciphertext() {
    let world = World::new().await;
    for algorithm in ALL {
        let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let (blob, token) = parcel_by(&world, &key, algorithm, &[7; 32]).await;
        let blob = STANDARD.decode(blob).unwrap();
        let flipped = |at: usize| {
            let mut flipped = blob.clone();
            flipped[at] ^= 1;
            flipped
        };
        let last = blob.len() - 1;
        for spoilt in [flipped(0), flipped(100), flipped(last), blob[..last].to_vec(), [&blob[..], &[0; 8]].concat(), vec![7]]
        {
            let request = request(&key, &token, &base64(&spoilt));
            world.refuse("ImportKeyMaterial", request, "InvalidCiphertextException", "").await;
        }
        // The same token serves a second try.
        world.ok("ImportKeyMaterial", request(&key, &token, &base64(&blob))).await;
    }
}

#[tokio::test]
async fn a_token_is_one_keys_and_a_days() {
    let world = World::new().await;
    let [one, other] = [
        external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await,
        external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await,
    ];
    let (blob, token) = parcel(&world, &one, &[7; 32]).await;
    world.refuse("ImportKeyMaterial", request(&other, &token, &blob), "InvalidImportTokenException", "").await;
    let sealed = STANDARD.decode(&token).unwrap();
    for at in [0, 11, 12, sealed.len() / 2, sealed.len() - 1] {
        let mut spoilt = sealed.clone();
        spoilt[at] ^= 1;
        let request = request(&one, &base64(&spoilt), &blob);
        world.refuse("ImportKeyMaterial", request, "InvalidImportTokenException", "").await;
    }
    world.refuse("ImportKeyMaterial", request(&one, "AAAA", &blob), "InvalidImportTokenException", "").await;
    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    world.refuse("ImportKeyMaterial", request(&one, &token, &blob), "ExpiredImportTokenException", "").await;
}

#[tokio::test]
async fn material_expires_and_comes_again() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let (blob, token) = parcel(&world, &key, &[7; 32]).await;
        let at = world.clock.now().epoch_seconds() + 3600.0;
        let expires = json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": at});
        world.ok("ImportKeyMaterial", with(request(&key, &token, &blob), expires)).await;
        let described = world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
        assert_eq!((&described["ExpirationModel"], &described["ValidTo"]), (&json!("KEY_MATERIAL_EXPIRES"), &json!(at)));
        let sealed = world.encrypt(&key, b"plaintext").await;
        world.clock.advance(Duration::from_secs(3599));
        world.work().await;
        world.ok("Decrypt", json!({"CiphertextBlob": sealed})).await;
        world.clock.advance(Duration::from_secs(1));
        world.work().await;
        let message = format!("{} is pending import.", world.arn_of(&key));
        let decrypt = json!({"CiphertextBlob": sealed});
        world.refuse("Decrypt", decrypt.clone(), "KMSInvalidStateException", &message).await;
        let described = world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
        assert_eq!(described["KeyState"], "PendingImport");
        assert!(described.get("ExpirationModel").is_none() && described.get("ValidTo").is_none(), "{described}");
        assert!(described.get("CurrentKeyMaterialId").is_some(), "it is kept");
        world.ok("ImportKeyMaterial", request(&key, &token, &blob)).await;
        assert_eq!(world.ok("Decrypt", decrypt).await["Plaintext"], base64(b"plaintext"));
    }
}

#[tokio::test]
async fn when_it_expires_is_said_once_and_within_a_year() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let (blob, token) = parcel(&world, &key, &[7; 32]).await;
    let now = world.clock.now().epoch_seconds();
    let year = 365.0 * 24.0 * 60.0 * 60.0;
    let needed = "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES";
    for (members, refusal) in [
        (json!({"ExpirationModel": null}), Some(needed)),
        (json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES"}), Some(needed)),
        (json!({"ValidTo": now + 1.0}), Some("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")),
        (json!({"ExpirationModel": null, "ValidTo": now}), Some("The validTo date must be in the future")),
        (json!({"ExpirationModel": null, "ValidTo": -1e300}), Some("The validTo date must be in the future")),
        (json!({"ExpirationModel": null, "ValidTo": now + year + 1.0}), Some("The validTo date must be at most 365 days in the future")),
        (json!({"ExpirationModel": null, "ValidTo": now + year}), None),
    ] {
        let request = with(request(&key, &token, &blob), members);
        match refusal {
            Some(message) => world.refuse("ImportKeyMaterial", request, "ValidationException", message).await,
            None => drop(world.ok("ImportKeyMaterial", request).await),
        }
    }
}

#[tokio::test]
async fn types_and_names_are_for_symmetric_keys_and_must_fit() {
    let world = World::new().await;
    let mac = external(&world, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let (blob, token) = parcel(&world, &mac, &[7; 32]).await;
    let typed = with(request(&mac, &token, &blob), json!({"ImportType": "NEW_KEY_MATERIAL"}));
    assert_eq!(world.call("ImportKeyMaterial", typed).await.code(), "ValidationException");

    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let (blob, token) = parcel(&world, &key, &[7; 32]).await;
    let existing = json!({"ImportType": "EXISTING_KEY_MATERIAL"});
    let import = |members| with(request(&key, &token, &blob), members);
    world.refuse("ImportKeyMaterial", import(existing.clone()), "IncorrectKeyMaterialException", "").await;
    let first = world.ok("ImportKeyMaterial", import(json!({"ImportType": "NEW_KEY_MATERIAL"}))).await;
    let named = with(existing, json!({"KeyMaterialId": first["KeyMaterialId"]}));
    world.ok("ImportKeyMaterial", import(named.clone())).await;
    let wrong = with(named, json!({"KeyMaterialId": "0".repeat(64)}));
    world.refuse("ImportKeyMaterial", import(wrong), "IncorrectKeyMaterialException", "").await;
}

#[tokio::test]
async fn a_disabled_key_stays_so_and_a_cancelled_deletion_remembers_what_is_missing() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key})).await;
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    let state = || async { world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"]["KeyState"].clone() };
    assert_eq!(state().await, "PendingImport");
    import(&world, &key, ALL[0], &[7; 32]).await;
    world.set_state(&key, KeyState::Disabled).await;
    let (blob, token) = parcel(&world, &key, &[7; 32]).await;
    world.ok("ImportKeyMaterial", request(&key, &token, &blob)).await;
    assert_eq!(state().await, "Disabled");
}

#[tokio::test]
async fn what_does_not_unwrap_a_hundred_times_in_a_minute_is_not_tried_again() {
    let world = World::new().await;
    for algorithm in ["RSAES_OAEP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"] {
        let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let (blob, token) = parcel_by(&world, &key, algorithm, &[7; 32]).await;
        let good = request(&key, &token, &blob);
        let bad = with(good.clone(), json!({"EncryptedKeyMaterial": base64(&[9; 256 + 40])}));
        for _ in 0..100 {
            world.refuse("ImportKeyMaterial", bad.clone(), "InvalidCiphertextException", "").await;
        }
        let too_often = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";
        world.refuse("ImportKeyMaterial", good.clone(), "ThrottlingException", too_often).await;
        assert!(logged("this may be an attack on the padding"));
        world.clock.advance(Duration::from_secs(60));
        world.ok("ImportKeyMaterial", good).await;
    }
}
