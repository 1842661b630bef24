//! What is encrypted, by us or by others, and what does not decrypt.

use std::io::Write;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, ObjectClass};
use strongroom::hsm::command::{Check, Random, SealRandom, Sealed, SealedRandom};
use strongroom::hsm::{Kind, TrialOutcome};
use strongroom::key::material::{Keeping, Material, MaterialId};
use strongroom::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};

use super::{OAEP, aes, decrypt, encrypt, intruder, kind, make, open, plaintext, seal, soon, stored, wrapped};
use crate::engine::Engine;
use crate::skip::skip;
use crate::tokens::token;

#[tokio::test]
async fn aes_seals_and_opens_wherever_it_is_kept() {
    let hsm = Engine::start(token()).unwrap();
    for place in [wrapped(), stored()] {
        let key = make(&hsm, KeySpec::SymmetricDefault, place).await;
        for bytes in [&b""[..], b"plaintext", &[7; 4096]] {
            let sealed = seal(&hsm, &key, bytes).await.unwrap();
            assert_eq!(sealed.ciphertext.len(), bytes.len() + 16);
            assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn a_data_key_comes_plain_and_sealed() {
    let hsm = Engine::start(token()).unwrap();
    let key = aes(&hsm).await;
    let command = SealRandom { material: Arc::clone(&key), aad: b"aad".to_vec(), len: 32 };
    let SealedRandom { plaintext, sealed } = hsm.call(command, soon()).await.unwrap();
    assert_eq!(plaintext.len(), 32);
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), plaintext.expose());
}

#[tokio::test]
async fn rsa_encrypts_and_decrypts_wherever_it_is_kept() {
    let hsm = Engine::start(token()).unwrap();
    for place in [wrapped(), stored()] {
        let key = make(&hsm, KeySpec::Rsa2048, place).await;
        assert!(key.public_key.is_some());
        for algorithm in OAEP {
            let longest = vec![5; KeySpec::Rsa2048.max_plaintext_bytes(algorithm).unwrap()];
            for bytes in [&b"x"[..], &longest] {
                let ciphertext = encrypt(&hsm, &key, algorithm, bytes).await.unwrap();
                assert_eq!(decrypt(&hsm, &key, algorithm, &ciphertext).await.unwrap(), bytes);
            }
            let too_long = [&longest[..], &[0]].concat();
            assert_eq!(kind(encrypt(&hsm, &key, algorithm, &too_long).await), Kind::Rejected);
        }
    }
}

#[tokio::test]
async fn what_does_not_open_is_rejected() {
    let hsm = Engine::start(token()).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"plaintext").await.unwrap();
    assert_eq!(kind(open(&hsm, &key, b"other", &sealed).await), Kind::Rejected);
    for at in [0, sealed.ciphertext.len() - 1] {
        let mut flipped = sealed.clone();
        flipped.ciphertext[at] ^= 1;
        assert_eq!(kind(open(&hsm, &key, b"aad", &flipped).await), Kind::Rejected);
    }
    let mut other_iv = sealed.clone();
    other_iv.iv[0] ^= 1;
    assert_eq!(kind(open(&hsm, &key, b"aad", &other_iv).await), Kind::Rejected);
    let short = Sealed { ciphertext: sealed.ciphertext[..15].to_vec(), ..sealed };
    assert_eq!(kind(open(&hsm, &key, b"aad", &short).await), Kind::Rejected);
    assert!(hsm.errors().iter().any(|error| error.function == "C_Decrypt" && error.count > 0));
}

#[tokio::test]
async fn data_is_not_blamed_while_the_hsm_is_in_doubt() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let clear = TrialOutcome::Refused { code: "CKR_ENCRYPTED_DATA_INVALID".to_owned() };
    if hsm.profile().outcome("AES-256-GCM, bad tag") == Some(&clear) {
        return skip("what the HSM says of a bad tag leaves no doubt");
    }
    let intruder = intruder(&settings);
    let known_answer = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(false)];
    let known_answer = intruder.find_objects(&known_answer).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    // Without its key, the known answer does not come, as from an HSM that is not well.
    known_answer.into_iter().for_each(|handle| intruder.destroy_object(handle).unwrap());
    assert_eq!(kind(open(&hsm, &key, b"other", &sealed).await), Kind::DeviceLost);
    assert!(hsm.call(Check, soon()).await.is_ok());
    let begun = Instant::now();
    while kind(open(&hsm, &key, b"other", &sealed).await) != Kind::Rejected {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn every_wrong_rsa_ciphertext_is_rejected_alike() {
    let hsm = Engine::start(token()).unwrap();
    let key = make(&hsm, KeySpec::Rsa2048, wrapped()).await;
    for algorithm in OAEP {
        let good = encrypt(&hsm, &key, algorithm, b"plaintext").await.unwrap();
        let mut flipped = good.clone();
        flipped[200] ^= 1;
        for wrong in [&flipped[..], &good[1..], &[0xff; 256], &[0; 256], &[]] {
            assert_eq!(kind(decrypt(&hsm, &key, algorithm, wrong).await), Kind::Rejected);
        }
    }
    let [one, other] = OAEP;
    let mixed = encrypt(&hsm, &key, one, b"plaintext").await.unwrap();
    assert_eq!(kind(decrypt(&hsm, &key, other, &mixed).await), Kind::Rejected);
}

/// `openssl pkeyutl` on `input`, with the padding and hash of `algorithm`.
fn openssl(args: &[&str], key: &Path, algorithm: EncryptionAlgorithm, input: &[u8]) -> Vec<u8> {
    let hash = if algorithm == EncryptionAlgorithm::RsaesOaepSha1 { "sha1" } else { "sha256" };
    let mut openssl = Process::new("openssl")
        .args(["pkeyutl", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt"])
        .args([&format!("rsa_oaep_md:{hash}"), "-inkey"])
        .arg(key)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(input).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn what_openssl_encrypts_is_decrypted() {
    let hsm = Engine::start(token()).unwrap();
    let key = make(&hsm, KeySpec::Rsa2048, wrapped()).await;
    let dir = tempfile::tempdir().unwrap();
    let spki = dir.path().join("public.der");
    std::fs::write(&spki, key.public_key.as_ref().unwrap()).unwrap();
    for algorithm in OAEP {
        for len in [1, 100, KeySpec::Rsa2048.max_plaintext_bytes(algorithm).unwrap()] {
            let ciphertext = openssl(&["-encrypt", "-pubin"], &spki, algorithm, &vec![7; len]);
            assert_eq!(decrypt(&hsm, &key, algorithm, &ciphertext).await.unwrap(), vec![7; len]);
        }
    }
}

#[tokio::test]
async fn what_is_encrypted_openssl_decrypts() {
    let hsm = Engine::start(token()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = (dir.path().join("private.der"), dir.path().join("public.der"));
    let run = |args: &[&str], out: &Path| {
        let status = Process::new("openssl").args(args).arg("-out").arg(out).stderr(Stdio::null()).status();
        assert!(status.unwrap().success());
    };
    run(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-outform", "DER"], &private);
    run(&["pkey", "-inform", "DER", "-in", private.to_str().unwrap(), "-pubout", "-outform", "DER"], &public);
    // Of this pair the HSM has nothing, which is enough to encrypt for it.
    let key = Arc::new(Material {
        id: MaterialId([0xab; 32]),
        spec: KeySpec::Rsa3072,
        usage: KeyUsage::EncryptDecrypt,
        keeping: Keeping::Token { cka_id: vec![0xab; 16], member: None },
        public_key: Some(std::fs::read(&public).unwrap()),
    });
    for algorithm in OAEP {
        for len in [0, 1, KeySpec::Rsa3072.max_plaintext_bytes(algorithm).unwrap()] {
            let ciphertext = encrypt(&hsm, &key, algorithm, &vec![9; len]).await.unwrap();
            assert_eq!(openssl(&["-decrypt"], &private, algorithm, &ciphertext), vec![9; len]);
        }
        assert_eq!(kind(decrypt(&hsm, &key, algorithm, &[0; 384]).await), Kind::KeyMissing);
    }
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked_for() {
    let hsm = Engine::start(token()).unwrap();
    for len in [1, 32, 1024] {
        assert_eq!(plaintext(&hsm, Random { len }).await.unwrap().len(), len);
    }
}
