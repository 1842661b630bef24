//! The HSM engine on a real PKCS#11 module.

mod hanging;
mod overload;
mod slots;

use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki_sys::{CKM_AES_GCM, CKR_MECHANISM_INVALID};
use expect_test::expect_file;
use strongroom::hsm::command::{
    Check, Command, Decrypt, Encrypt, Generate, Open, Place, Random, Seal, SealRandom, Sealed, SealedRandom,
};
use strongroom::hsm::{
    Engine as Hsm, HsmError, Kind, OaepRoad, Outcome, PinSource, Profile, Settings, TokenSelector, init_wrapping_key,
    probe,
};
use strongroom::key::material::{Keeping, Material, MaterialId, WrapMechanism};
use strongroom::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use strongroom::secret::SecretBytes;
use strongroom_faults::rule::Rule;

use crate::faults::Faults;
use crate::skip::{lacks, skip};
use crate::tokens::{PIN, bare_token, module, token};

const OAEP: [EncryptionAlgorithm; 2] = [EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256];

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn input(bytes: &[u8]) -> SecretBytes {
    SecretBytes::from(bytes.to_vec())
}

fn wrapped() -> Place {
    Place::Wrapped
}

/// A place on the token with an id of its own.
fn stored() -> Place {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    Place::Token { cka_id: [COUNT.fetch_add(1, Ordering::Relaxed); 16] }
}

async fn make(hsm: &Hsm, spec: KeySpec, place: Place) -> Arc<Material> {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let id = MaterialId([COUNT.fetch_add(1, Ordering::Relaxed); 32]);
    let usage = KeyUsage::EncryptDecrypt;
    let made = hsm.call(Generate { id, spec, usage, place }, soon()).await;
    Arc::new(made.unwrap_or_else(|error| panic!("{error}")))
}

async fn aes(hsm: &Hsm) -> Arc<Material> {
    make(hsm, KeySpec::SymmetricDefault, wrapped()).await
}

async fn seal(hsm: &Hsm, material: &Arc<Material>, bytes: &[u8]) -> Result<Sealed, HsmError> {
    let command = Seal { material: Arc::clone(material), aad: b"aad".to_vec(), input: input(bytes) };
    hsm.call(command, soon()).await
}

async fn open(hsm: &Hsm, material: &Arc<Material>, aad: &[u8], sealed: &Sealed) -> Result<Vec<u8>, HsmError> {
    let Sealed { iv, ciphertext } = sealed.clone();
    plaintext(hsm, Open { material: Arc::clone(material), aad: aad.to_vec(), iv, ciphertext }).await
}

async fn encrypt(
    hsm: &Hsm,
    key: &Arc<Material>,
    algorithm: EncryptionAlgorithm,
    bytes: &[u8],
) -> Result<Vec<u8>, HsmError> {
    hsm.call(Encrypt { material: Arc::clone(key), algorithm, input: input(bytes) }, soon()).await
}

async fn decrypt(
    hsm: &Hsm,
    key: &Arc<Material>,
    algorithm: EncryptionAlgorithm,
    ciphertext: &[u8],
) -> Result<Vec<u8>, HsmError> {
    plaintext(hsm, Decrypt { material: Arc::clone(key), algorithm, ciphertext: ciphertext.to_vec() }).await
}

async fn plaintext(hsm: &Hsm, command: impl Command<Answer = SecretBytes>) -> Result<Vec<u8>, HsmError> {
    hsm.call(command, soon()).await.map(|bytes| bytes.expose().to_vec())
}

fn kind<T>(result: Result<T, HsmError>) -> Kind {
    result.err().expect("an error").kind
}

/// A session past the engine, to do to the token what others might do.
fn intruder(settings: &Settings) -> Session {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let label = settings.token.label.as_deref().unwrap();
    let is_ours = |slot: &_| pkcs11.get_token_info(*slot).unwrap().label().trim_end() == label;
    let slot = pkcs11.get_slots_with_initialized_token().unwrap().into_iter().find(is_ours).unwrap();
    pkcs11.open_rw_session(slot).unwrap()
}

#[tokio::test]
async fn aes_seals_and_opens_wherever_it_is_kept() {
    let hsm = Hsm::start(token()).unwrap();
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
    let hsm = Hsm::start(token()).unwrap();
    let key = aes(&hsm).await;
    let command = SealRandom { material: Arc::clone(&key), aad: b"aad".to_vec(), len: 32 };
    let SealedRandom { plaintext, sealed } = hsm.call(command, soon()).await.unwrap();
    assert_eq!(plaintext.len(), 32);
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), plaintext.expose());
}

#[tokio::test]
async fn rsa_encrypts_and_decrypts_wherever_it_is_kept() {
    let hsm = Hsm::start(token()).unwrap();
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
    let hsm = Hsm::start(token()).unwrap();
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
    let hsm = Hsm::start(settings.clone()).unwrap();
    let clear = Outcome::Refused { code: "CKR_ENCRYPTED_DATA_INVALID".to_owned() };
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
    let hsm = Hsm::start(token()).unwrap();
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
    let hsm = Hsm::start(token()).unwrap();
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
    let hsm = Hsm::start(token()).unwrap();
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
async fn the_longest_key_goes_through_the_wrap() {
    let hsm = Hsm::start(token()).unwrap();
    let key = make(&hsm, KeySpec::Rsa4096, wrapped()).await;
    for algorithm in OAEP {
        let ciphertext = encrypt(&hsm, &key, algorithm, b"plaintext").await.unwrap();
        assert_eq!(ciphertext.len(), 512);
        assert_eq!(decrypt(&hsm, &key, algorithm, &ciphertext).await.unwrap(), b"plaintext");
    }
}

#[tokio::test]
async fn material_outlives_the_engine() {
    let settings = token();
    let (wrapped_key, stored_key, sealed) = {
        let hsm = Hsm::start(settings.clone()).unwrap();
        let (one, other) = (aes(&hsm).await, make(&hsm, KeySpec::SymmetricDefault, stored()).await);
        let sealed = [seal(&hsm, &one, b"one").await.unwrap(), seal(&hsm, &other, b"other").await.unwrap()];
        (one, other, sealed)
    };
    let hsm = Hsm::start(settings).unwrap();
    let Keeping::Wrapped { mechanism, .. } = &wrapped_key.keeping else { panic!("not wrapped") };
    assert_eq!(Some(*mechanism), hsm.profile().wrap);
    assert_eq!(open(&hsm, &wrapped_key, b"aad", &sealed[0]).await.unwrap(), b"one");
    assert_eq!(open(&hsm, &stored_key, b"aad", &sealed[1]).await.unwrap(), b"other");
}

#[tokio::test]
async fn generation_leaves_no_objects_behind() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let intruder = intruder(&settings);
    let before = intruder.find_objects(&[]).unwrap().len();
    aes(&hsm).await;
    make(&hsm, KeySpec::Rsa2048, wrapped()).await;
    assert_eq!(intruder.find_objects(&[]).unwrap().len(), before);
}

#[tokio::test]
async fn a_leased_key_cannot_leave_and_an_rsa_key_cannot_sign() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    if lacks(&hsm.profile(), &["AES that may not leave does not", "RSA that decrypts does not sign"]) {
        return;
    }
    let key = make(&hsm, KeySpec::Rsa2048, wrapped()).await;
    let ciphertext = encrypt(&hsm, &key, OAEP[0], b"x").await.unwrap();
    decrypt(&hsm, &key, OAEP[0], &ciphertext).await.unwrap();
    let leaky = [
        vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Extractable(true)],
        vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Sensitive(false)],
        vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Sign(true)],
        // The wrapping key may leave, but only under a key that the security officer has trusted.
        vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Extractable(true),
            Attribute::WrapWithTrusted(false),
        ],
        vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Wrap(true), Attribute::Decrypt(true)],
    ];
    let intruder = intruder(&settings);
    assert_eq!(intruder.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap().len(), 1);
    for template in leaky {
        assert!(intruder.find_objects(&template).unwrap().is_empty(), "{template:?}");
    }
}

/// Whether a handle that works is refused for this, as a mechanism that is not on its list.
fn is_refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Pkcs11(RvError::MechanismInvalid | RvError::KeyFunctionNotPermitted, _)))
}

fn allowed(session: &Session, key: ObjectHandle) -> Vec<MechanismType> {
    match session.get_attributes(key, &[AttributeType::AllowedMechanisms]).unwrap().remove(0) {
        Attribute::AllowedMechanisms(mut list) => {
            list.sort_by_key(|mechanism| *mechanism.deref());
            list
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_rsa_handle_does_what_its_key_is_for_and_nothing_else() {
    for place in [wrapped(), stored()] {
        let settings = token();
        let hsm = Hsm::start(settings.clone()).unwrap();
        let profile = hsm.profile();
        if lacks(&profile, &["RSA bound to mechanisms", "RSA bound to mechanisms, unwrapped"]) {
            return;
        }
        let key = make(&hsm, KeySpec::Rsa2048, place).await;
        let ciphertext = encrypt(&hsm, &key, OAEP[1], b"x").await.unwrap();
        decrypt(&hsm, &key, OAEP[1], &ciphertext).await.unwrap();
        let intruder = intruder(&settings);
        let [handle] = intruder.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()[..] else {
            panic!("not one private key")
        };
        let raw = intruder.decrypt(&Mechanism::RsaX509, handle, &ciphertext);
        if profile.oaep_sha256 == OaepRoad::RawWithHostUnpadding {
            assert_eq!(allowed(&intruder, handle), [MechanismType::RSA_X_509, MechanismType::RSA_PKCS_OAEP]);
            assert_eq!(raw.unwrap().len(), 256);
        } else {
            assert_eq!(allowed(&intruder, handle), [MechanismType::RSA_PKCS_OAEP]);
            assert!(is_refused(raw));
        }
        assert!(is_refused(intruder.decrypt(&Mechanism::RsaPkcs, handle, &ciphertext)));
        for mechanism in [Mechanism::RsaX509, Mechanism::RsaPkcs, Mechanism::Sha256RsaPkcs] {
            assert!(is_refused(intruder.sign(&mechanism, handle, b"x")), "{mechanism:?}");
        }
    }
}

#[tokio::test]
async fn aes_handles_do_what_their_keys_are_for_and_nothing_else() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let bound = ["AES bound to mechanisms", "AES bound to mechanisms, unwrapped", "wrapping key bound to mechanisms"];
    if lacks(&hsm.profile(), &bound) {
        return;
    }
    for key in [aes(&hsm).await, make(&hsm, KeySpec::SymmetricDefault, stored()).await] {
        seal(&hsm, &key, b"x").await.unwrap();
    }
    let intruder = intruder(&settings);
    // The known answer's, and the two.
    let ours = intruder.find_objects(&[Attribute::KeyType(KeyType::AES), Attribute::Decrypt(true)]).unwrap();
    assert_eq!(ours.len(), 3);
    for key in &ours {
        assert_eq!(allowed(&intruder, *key), [MechanismType::AES_GCM]);
        assert!(is_refused(intruder.encrypt(&Mechanism::AesEcb, *key, &[0; 16])));
        assert!(is_refused(intruder.decrypt(&Mechanism::AesCbc([0; 16]), *key, &[0; 16])));
    }
    // Something that may be wrapped, and that another key does wrap in a way in which the wrapping key does not.
    let session_key = |more| {
        let template = [Attribute::Token(false), Attribute::ValueLen(32.into()), more];
        intruder.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
    };
    let (passing, other) = (session_key(Attribute::Extractable(true)), session_key(Attribute::Wrap(true)));
    let wrapping = intruder.find_objects(&[Attribute::Token(true), Attribute::Wrap(true)]).unwrap();
    assert!(intruder.wrap_key(&Mechanism::AesKeyWrap, other, passing).is_ok());
    assert!(is_refused(intruder.wrap_key(&Mechanism::AesKeyWrap, wrapping[0], passing)));
}

#[tokio::test]
async fn what_a_killed_probe_left_goes_and_nothing_that_only_looks_like_it() {
    let settings = bare_token();
    let label = "strongroom probe";
    // Even a wrapping key of that name stays.
    let named_so = Settings { wrapping_key_label: label.to_owned(), ..settings.clone() };
    assert!(init_wrapping_key(&named_so).unwrap().created);
    let intruder = intruder(&settings);
    intruder.login(UserType::User, Some(&PIN.to_owned().into())).unwrap();
    let leave = |label: &str, id: &[u8], others: &[Attribute]| {
        let mut template = vec![
            Attribute::Token(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let closed = [Attribute::Sign(false), Attribute::Verify(false), Attribute::Wrap(false)];
        template.extend(closed.into_iter().chain([Attribute::Unwrap(false), Attribute::Derive(false)]));
        template.retain(|one| others.iter().all(|other| other.attribute_type() != one.attribute_type()));
        template.extend_from_slice(others);
        intruder.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    };
    leave(label, &[1; 16], &[]);
    leave(label, &[2; 16], &[]);
    leave(label, &[3; 8], &[]);
    leave("strongroom probes", &[4; 16], &[]);
    leave(label, &[5; 16], &[Attribute::Wrap(true)]);
    leave(label, &[6; 16], &[Attribute::Token(false)]);
    let _hsm = Hsm::start(settings).unwrap();
    let left = |n: u8, len| intruder.find_objects(&[Attribute::Id(vec![n; len])]).unwrap().len();
    assert_eq!([left(1, 16), left(2, 16)], [0, 0]);
    assert_eq!([left(3, 8), left(4, 16), left(5, 16), left(6, 16)], [1, 1, 1, 1]);
    let stored = intruder.find_objects(&[Attribute::Label(label.into()), Attribute::Token(true)]).unwrap();
    assert_eq!(stored.len(), 3, "the wrapping key, the short id, the one that wraps; and none of this start");
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_refused() {
    let (faults, good) = Faults::before(token());
    let (bad, file) = with_own_pin(&good, "not the PIN");
    let error = Hsm::start(bad.clone()).err().unwrap();
    assert_eq!((error.kind, &*error.function, &*error.code), (Kind::PinRefused, "C_Login", "CKR_PIN_INCORRECT"));
    assert!(!format!("{error} {error:?}").contains("not the PIN"));
    assert_eq!(faults.calls("C_Login").len(), 1, "the token has seen the wrong PIN once");

    // The next start knows, and does not even load the module.
    let error = Hsm::start(Settings { module: "/nowhere".into(), ..bad.clone() }).err().unwrap();
    assert_eq!(error.kind, Kind::PinRefused);
    assert!(error.code.contains("retry-pin"), "{error}");

    // Another PIN is tried, and when it is right the wrong one is forgotten.
    std::fs::write(&file, PIN).unwrap();
    drop(Hsm::start(bad.clone()).unwrap());
    std::fs::write(&file, "not the PIN").unwrap();
    assert_eq!(&*Hsm::start(bad).err().unwrap().code, "CKR_PIN_INCORRECT");
    Hsm::start(good).unwrap();
}

/// The same HSM with a PIN file of its own.
fn with_own_pin(settings: &Settings, pin: &str) -> (Settings, PathBuf) {
    let file = settings.ledger.with_extension("pin");
    std::fs::write(&file, pin).unwrap();
    (Settings { pin: PinSource::File(file.clone()), ..settings.clone() }, file)
}

#[tokio::test]
async fn a_token_that_is_not_there_is_named() {
    let error = Hsm::start(Settings { token: TokenSelector::labelled("nowhere"), ..bare_token() }).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.to_string().contains("no token fits") && error.to_string().contains("nowhere"), "{error}");
    let slot_alone = TokenSelector { slot_id: Some(0), ..TokenSelector::default() };
    let error = Hsm::start(Settings { token: slot_alone, ..bare_token() }).err().unwrap();
    assert!(error.to_string().contains("a slot alone moves"), "{error}");
    let error = Hsm::start(Settings { module: "/nowhere.so".into(), ..bare_token() }).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
}

#[tokio::test]
async fn a_module_is_not_told_two_things_in_one_process() {
    let other = Settings { init_reserved: Some("another text".to_owned()), ..token() };
    let error = Hsm::start(other).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.to_string().contains("two hsm.init_reserved"), "{error}");
}

#[tokio::test]
async fn the_wrapping_key_is_made_once_and_can_be_made_later() {
    let settings = bare_token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    assert!(!hsm.has_wrapping_key());
    let (id, spec, usage) = (MaterialId([0; 32]), KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let generate = || Generate { id, spec, usage, place: wrapped() };
    assert_eq!(kind(hsm.call(generate(), soon()).await), Kind::NoWrappingKey);
    let made = init_wrapping_key(&settings).unwrap();
    assert!(made.created && made.cka_id.len() == 16);
    assert!(made.to_string().starts_with("wrapping key made, CKA_ID "), "{made}");
    let again = init_wrapping_key(&settings).unwrap();
    assert!(!again.created && again.cka_id == made.cka_id);
    assert!(hsm.call(generate(), soon()).await.is_ok());
    assert!(hsm.has_wrapping_key());
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let hsm = Hsm::start(Settings { queue: 1, ..token() }).unwrap();
    let generate = |n| Generate {
        id: MaterialId([n; 32]),
        spec: KeySpec::Rsa4096,
        usage: KeyUsage::EncryptDecrypt,
        place: wrapped(),
    };
    let hurry = || Instant::now() + Duration::from_millis(300);
    let (one, two, three, other) = tokio::join!(
        hsm.call(generate(1), hurry()),
        hsm.call(generate(2), hurry()),
        hsm.call(generate(3), hurry()),
        hsm.call(Random { len: 8 }, hurry()),
    );
    let kinds = [one, two, three].map(|result| result.err().map(|error| error.kind));
    assert!(kinds.contains(&Some(Kind::Busy)), "{kinds:?}");
    assert!(other.is_ok(), "a slow call holds up the others");
}

#[tokio::test]
async fn a_deadline_that_has_passed_costs_no_call() {
    let hsm = Hsm::start(token()).unwrap();
    assert_eq!(kind(hsm.call(Check, Instant::now()).await), Kind::Timeout);
    assert_eq!(hsm.gauges().calls_late, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_are_all_answered_rightly() {
    let hsm = Hsm::start(Settings { cached_handles: 2, ..token() }).unwrap();
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(aes(&hsm).await);
    }
    let callers = (0..64u8).map(|caller| {
        let (hsm, key) = (hsm.clone(), Arc::clone(&keys[caller as usize % keys.len()]));
        tokio::spawn(async move {
            for round in 0..20 {
                let sealed = seal(&hsm, &key, &[caller, round]).await.unwrap();
                assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), [caller, round]);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let gauges = hsm.gauges();
    assert!(gauges.cached_handles <= 2 && gauges.queue_depth == 0, "{gauges:?}");
    assert_eq!(hsm.errors(), []);
}

#[tokio::test]
async fn evicted_keys_leave_the_hsm() {
    let settings = Settings { cached_handles: 2, ..token() };
    let hsm = Hsm::start(settings.clone()).unwrap();
    let intruder = intruder(&settings);
    let before = intruder.find_objects(&[]).unwrap().len();
    for _ in 0..6 {
        let key = aes(&hsm).await;
        seal(&hsm, &key, b"x").await.unwrap();
    }
    // Errands are run in order, so when this key has been made the evicted ones are gone but for the last.
    let key = aes(&hsm).await;
    seal(&hsm, &key, b"x").await.unwrap();
    assert!(intruder.find_objects(&[]).unwrap().len() <= before + 3);
}

#[tokio::test]
async fn destroyed_is_gone() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let place = stored();
    let Place::Token { cka_id } = place else { panic!("not stored") };
    let key = make(&hsm, KeySpec::Rsa2048, place).await;
    let ciphertext = encrypt(&hsm, &key, OAEP[0], b"x").await.unwrap();
    assert!(decrypt(&hsm, &key, OAEP[0], &ciphertext).await.is_ok());
    for _ in 0..2 {
        assert_eq!(hsm.destroy(&key, soon()).await, Ok(()));
        assert!(intruder(&settings).find_objects(&[Attribute::Id(cka_id.to_vec())]).unwrap().is_empty());
        assert_eq!(kind(decrypt(&hsm, &key, OAEP[0], &ciphertext).await), Kind::KeyMissing);
    }
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_given_again() {
    let hsm = Hsm::start(token()).unwrap();
    let place = stored();
    let key = make(&hsm, KeySpec::SymmetricDefault, place).await;
    let (id, spec, usage) = (MaterialId([0xcc; 32]), KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    assert_eq!(kind(hsm.call(Generate { id, spec, usage, place }, soon()).await), Kind::SessionLost);
    assert!(seal(&hsm, &key, b"x").await.is_ok());
}

#[tokio::test]
async fn forgotten_material_is_unwrapped_again() {
    let hsm = Hsm::start(token()).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    assert_eq!(hsm.gauges().cached_handles, 1);
    assert!(hsm.destroy(&key, soon()).await.is_ok());
    assert_eq!(hsm.gauges().cached_handles, 0);
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"x");
}

#[tokio::test]
async fn an_object_that_vanishes_is_made_again() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let intruder = intruder(&settings);
    let session_key = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(false)];
    let before = intruder.find_objects(&session_key).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    let after = intruder.find_objects(&session_key).unwrap();
    after.into_iter().filter(|handle| !before.contains(handle)).for_each(|h| intruder.destroy_object(h).unwrap());
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"x");
}

#[tokio::test]
async fn damaged_material_is_the_keys_fault_alone() {
    let hsm = Hsm::start(token()).unwrap();
    let key = aes(&hsm).await;
    let mut damaged = Material { id: MaterialId([0xee; 32]), ..(*key).clone() };
    let Keeping::Wrapped { blob, .. } = &mut damaged.keeping else { panic!("not wrapped") };
    blob[5] ^= 1;
    assert_eq!(kind(seal(&hsm, &Arc::new(damaged), b"x").await), Kind::KeyMissing);
    assert!(seal(&hsm, &key, b"x").await.is_ok());
}

/// Afterwards nobody is logged in. An HSM that works on without a login may not have been logged in to since the last time.
fn log_out(settings: &Settings) {
    let done = intruder(settings).logout();
    assert!(matches!(done, Ok(()) | Err(Error::Pkcs11(RvError::UserNotLoggedIn, _))), "{done:?}");
}

#[tokio::test]
async fn a_lost_login_is_made_again() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"x").await.unwrap();
    for _ in 0..2 {
        log_out(&settings);
        assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"x");
    }
    assert_eq!(hsm.call(Check, soon()).await, Ok(()));
}

#[tokio::test]
async fn a_pin_that_was_changed_is_tried_once_more_and_never_again() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    let intruder = intruder(&settings);
    intruder.set_pin(&PIN.to_owned().into(), &"another pin".to_owned().into()).unwrap();
    intruder.logout().unwrap();
    for _ in 0..3 {
        assert_eq!(kind(seal(&hsm, &key, b"x").await), Kind::PinRefused);
    }
    let logins: Vec<_> = hsm.errors().into_iter().filter(|error| error.code == "CKR_PIN_INCORRECT").collect();
    assert_eq!(logins.iter().map(|error| (&*error.function, error.count)).collect::<Vec<_>>(), [("C_Login", 1)]);
}

#[tokio::test]
async fn without_a_login_nothing_is_taken_for_gone() {
    let settings = token();
    let hsm = Hsm::start(settings.clone()).unwrap();
    let place = stored();
    let Place::Token { cka_id } = place else { panic!("not stored") };
    let key = make(&hsm, KeySpec::SymmetricDefault, place).await;
    log_out(&settings);
    assert_eq!(hsm.call(Check, soon()).await, Ok(()));
    log_out(&settings);
    aes(&hsm).await;
    log_out(&settings);
    make(&hsm, KeySpec::SymmetricDefault, stored()).await;
    log_out(&settings);
    assert!(hsm.destroy(&key, soon()).await.is_ok());
    assert!(intruder(&settings).find_objects(&[Attribute::Id(cka_id.to_vec())]).unwrap().is_empty());
}

#[tokio::test]
async fn two_engines_share_a_token_and_one_stops() {
    let settings = token();
    let (one, other) = (Hsm::start(settings.clone()).unwrap(), Hsm::start(settings.clone()).unwrap());
    let key = aes(&one).await;
    let sealed = seal(&one, &key, b"x").await.unwrap();
    one.stop();
    one.stop();
    assert!(one.wait_until_stopped(Duration::from_secs(10)));
    assert_eq!(kind(one.call(Check, soon()).await), Kind::DeviceLost);
    assert_eq!(open(&other, &key, b"aad", &sealed).await.unwrap(), b"x");
    // Logged in by the first already; a second login is none.
    assert!(intruder(&settings).login(UserType::User, Some(&PIN.to_owned().into())).is_err());
}

/// What is known of each HSM that the tests are run on is in a file of its name.
#[tokio::test]
async fn the_probe_tells_the_truth() {
    let profile = probe(&bare_token()).unwrap();
    // What comes before names this one token and the versions of this day.
    let table = profile.to_string().lines().skip(3).fold(String::new(), |table, row| table + row + "\n");
    let name = std::env::var("STRONGROOM_TEST_HSM").unwrap_or("softhsm2".to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/profiles/{name}.txt"));
    expect_file![path].assert_eq(&(table + &supported(&profile)));
}

#[test]
fn an_hsm_that_the_service_cannot_work_with_is_probed_and_says_what_it_lacks() {
    let (faults, settings) = Faults::before(token());
    let _lacking = faults.rule(Rule::on("C_EncryptInit").mechanism(CKM_AES_GCM).answer(CKR_MECHANISM_INVALID));
    let refused = Outcome::Refused { code: "CKR_MECHANISM_INVALID".to_owned() };
    assert_eq!(probe(&settings).unwrap().outcome("AES-256-GCM with AAD"), Some(&refused));
    let error = Hsm::start(settings).err().expect("an engine without its canary");
    let text = "the service cannot work with this HSM, which lacks what it needs for itself: AES-256-GCM with AAD, refused: \
                CKR_MECHANISM_INVALID";
    assert_eq!((error.kind, &*error.code), (Kind::Misconfigured, text));
}

/// Each kind of key, and how the HSM can keep it.
fn supported(profile: &Profile) -> String {
    let kinds = KeySpec::ALL.iter().flat_map(|spec| spec.usages().iter().map(move |usage| (*spec, *usage)));
    let rows = kinds.map(|(spec, usage)| match (profile.supports(spec, usage), profile.wraps(spec, usage)) {
        (true, true) => format!("{spec} {usage}: wrapped or on the token\n"),
        (true, false) => format!("{spec} {usage}: on the token only\n"),
        (false, _) => format!("{spec} {usage}: not at all\n"),
    });
    rows.collect()
}

#[tokio::test]
async fn what_follows_from_the_probe_is_said_in_words_and_in_json() {
    let profile = Hsm::start(token()).unwrap().profile();
    assert_eq!(profile.outcome("RSAES_OAEP_SHA_1"), Some(&Outcome::Ok));
    assert!(profile.supports(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt));
    assert!(profile.supports(KeySpec::Rsa4096, KeyUsage::EncryptDecrypt));
    let [word, name] = match profile.wrap.unwrap() {
        WrapMechanism::AesKeyWrapKwp => ["aes_key_wrap_kwp", "AES_KEY_WRAP_KWP"],
        WrapMechanism::AesKeyWrapPad => ["aes_key_wrap_pad", "AES_KEY_WRAP_PAD"],
    };
    assert_eq!(serde_json::to_value(&*profile).unwrap()["wrap"], word);
    let table = profile.to_string();
    let row = table.lines().find(|row| row.starts_with("=> material is wrapped with")).unwrap();
    assert!(row.ends_with(name), "{row}");
}

#[tokio::test]
async fn raw_rsa_takes_the_place_of_oaep_only_where_it_is_allowed() {
    let settings = token();
    let profile = Hsm::start(settings.clone()).unwrap().profile();
    if profile.oaep_sha256 == OaepRoad::Native {
        return skip("the HSM does RSAES_OAEP_SHA_256 itself");
    }
    assert_eq!(profile.oaep_sha256, OaepRoad::RawWithHostUnpadding);
    let strict = Hsm::start(Settings { allow_raw_rsa: false, ..settings }).unwrap();
    assert_eq!(strict.profile().oaep_sha256, OaepRoad::Refused);
    assert!(!strict.profile().supports(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt));
    let (id, usage) = (MaterialId([0; 32]), KeyUsage::EncryptDecrypt);
    let generate = Generate { id, spec: KeySpec::Rsa2048, usage, place: wrapped() };
    assert_eq!(kind(strict.call(generate, soon()).await), Kind::Unsupported);
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked_for() {
    let hsm = Hsm::start(token()).unwrap();
    for len in [1, 32, 1024] {
        assert_eq!(plaintext(&hsm, Random { len }).await.unwrap().len(), len);
    }
}
