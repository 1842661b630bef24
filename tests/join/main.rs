//! The wrapping key of one HSM comes to another: two tokens, and worker processes of the real program.
//!
//! A program of its own, whose tests take turns: SoftHSM2 rewrites a token when a worker process logs in, and whoever looks
//! through all tokens at that moment, as each start in this process does, may find it broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../it/tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use strongroom::hsm::command::{Command, Decrypt, Encrypt, Generate, Open, Place, Seal, Sealed};
use strongroom::hsm::setup::{Accept, Invite, MakeWrappingKey, OneShot, Prove, Release};
use strongroom::hsm::{
    Hsm, HsmError, Joined, Kind, Launch, Leaves, PinSource, Settings, carry_out, init_wrapping_key, join, retry_pin,
};
use strongroom::key::material::{Material, MaterialId};
use strongroom::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use strongroom::secret::SecretBytes;
use tokio::sync::{Mutex, MutexGuard};

use tokens::{PIN, SO_PIN, bare_token, module, token};

async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

fn launch() -> Launch {
    Launch::Program { program: env!("CARGO_BIN_EXE_strongroom").into(), arguments: vec!["hsm-worker".to_owned()] }
}

/// The security officer's PIN, or another, in a file.
fn so_pin(settings: &Settings, pin: &str) -> PinSource {
    let file = settings.ledger.with_extension("so-pin");
    std::fs::write(&file, pin).unwrap();
    PinSource::File(file)
}

/// A key store of this HSM, which is open.
async fn started(settings: &Settings) -> Hsm {
    let hsm = Hsm::open(vec![settings.clone()], launch());
    hsm.opened(Duration::from_secs(20)).await.unwrap();
    hsm
}

async fn stop(hsm: Hsm) {
    hsm.stop();
    assert!(hsm.stopped(Duration::from_secs(5)).await);
}

/// Two tokens that one deployment uses: the second logs in by the ledger of the first.
fn two(first: Settings) -> (Settings, Settings) {
    let second = Settings { ledger: first.ledger.clone(), ..bare_token() };
    (first, second)
}

async fn joined(from: &Settings, to: &Settings, pin: &str) -> Result<Joined, HsmError> {
    join(&launch(), from, to, so_pin(from, pin), |_| {}).await
}

async fn done<J: OneShot>(settings: &Settings, job: J) -> J::Answer {
    carry_out(&launch(), settings, job).await.unwrap()
}

/// A session that is logged in, past the engine.
fn logged_in(settings: &Settings) -> Session {
    let session = intruder(settings);
    session.login(UserType::User, Some(&PIN.to_owned().into())).unwrap();
    session
}

fn count(session: &Session) -> usize {
    session.find_objects(&[]).unwrap().len()
}

fn wrapping_key(session: &Session) -> ObjectHandle {
    let found = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Wrap(true)]).unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

/// All that decides what a wrapping key may do.
fn nature(session: &Session) -> Vec<Attribute> {
    use AttributeType as A;
    let telling = [
        A::Id,
        A::Label,
        A::KeyType,
        A::Token,
        A::Private,
        A::Sensitive,
        A::Extractable,
        A::WrapWithTrusted,
        A::Wrap,
        A::Unwrap,
        A::Encrypt,
        A::Decrypt,
        A::Sign,
        A::Verify,
        A::Derive,
    ];
    session.get_attributes(wrapping_key(session), &telling).unwrap()
}

#[tokio::test]
async fn each_hsm_reads_what_the_other_wraps() {
    let _turn = turn().await;
    let (a, b) = two(token());
    assert_eq!(joined(&a, &b, SO_PIN).await, Ok(Joined::Now));
    let (one, other) = (started(&a).await, started(&b).await);
    for (maker, reader) in [(&one, &other), (&other, &one)] {
        let key = make(maker, KeySpec::SymmetricDefault).await;
        let sealed = seal(maker, &key, b"plaintext").await.unwrap();
        assert_eq!(open(reader, &key, b"aad", &sealed).await.unwrap(), b"plaintext");
        let pair = make(maker, KeySpec::Rsa2048).await;
        let ciphertext = encrypt(maker, &pair, EncryptionAlgorithm::RsaesOaepSha1, b"plaintext").await.unwrap();
        assert_eq!(
            decrypt(reader, &pair, EncryptionAlgorithm::RsaesOaepSha1, &ciphertext).await.unwrap(),
            b"plaintext"
        );
    }
    assert_eq!(nature(&logged_in(&a)), nature(&logged_in(&b)));
    assert!(is_bound(&logged_in(&b)), "the key that came may be used with any mechanism");
    assert_eq!(joined(&a, &b, "not even looked at").await, Ok(Joined::Already));
    // And on: the second can give it to a third.
    let c = Settings { ledger: a.ledger.clone(), ..bare_token() };
    assert_eq!(joined(&b, &c, SO_PIN).await, Ok(Joined::Now));
    assert_eq!(nature(&logged_in(&a)), nature(&logged_in(&c)));
}

/// Whether the wrapping key wraps as ours do, and in no other way.
fn is_bound(session: &Session) -> bool {
    let (key, free) = (wrapping_key(session), free(session));
    session.wrap_key(&Mechanism::AesKeyWrapPad, key, free).is_ok()
        && is_refused(session.wrap_key(&Mechanism::AesKeyWrap, key, free))
}

/// A key that may leave under any.
fn free(session: &Session) -> ObjectHandle {
    let template = [Attribute::Token(false), Attribute::ValueLen(32.into()), Attribute::Extractable(true)];
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
}

#[tokio::test]
async fn a_join_leaves_one_key_on_each_and_nothing_else() {
    let _turn = turn().await;
    let (a, b) = two(token());
    // As a join that was killed: a pair to which no key comes.
    let proof = done(&a, Prove).await;
    done(&b, Invite { proof }).await;
    assert_eq!(count(&logged_in(&b)), 1);
    assert_eq!(joined(&a, &b, SO_PIN).await, Ok(Joined::Now));
    for settings in [&a, &b] {
        let session = logged_in(settings);
        wrapping_key(&session);
        assert_eq!(count(&session), 1);
    }
}

fn id(session: &Session) -> Vec<u8> {
    match session.get_attributes(wrapping_key(session), &[AttributeType::Id]).unwrap().remove(0) {
        Attribute::Id(id) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_so_pin_changes_nothing_and_is_tried_once() {
    let _turn = turn().await;
    let (a, b) = two(token());
    let (at_a, at_b) = (logged_in(&a), logged_in(&b));
    let before = nature(&at_a);
    let error = joined(&a, &b, "wrong-so-pin").await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::PinRefused, "CKR_PIN_INCORRECT"));
    assert!(error.function.contains(&a.name) && error.function.contains("officer"), "{error}");
    // Where the service logs in meanwhile, the refusal is remembered all the same.
    stop(started(&a).await).await;
    let error = joined(&a, &b, "wrong-so-pin").await.unwrap_err();
    assert!(error.kind == Kind::PinRefused && error.code.contains("retry-pin"), "{error}");
    assert_eq!((count(&at_a), count(&at_b)), (1, 0));
    assert_eq!(nature(&at_a), before);

    assert_eq!((retry_pin(&b), retry_pin(&a), retry_pin(&a)), (Ok(false), Ok(true), Ok(false)));
    let error = joined(&a, &b, "wrong-so-pin").await.unwrap_err();
    assert_eq!(&*error.code, "CKR_PIN_INCORRECT");
    assert_eq!(joined(&a, &b, SO_PIN).await, Ok(Joined::Now));
}

#[tokio::test]
async fn a_wrapping_key_leaves_under_nothing_that_a_user_can_make() {
    let _turn = turn().await;
    let a = token();
    let session = logged_in(&a);
    let key = wrapping_key(&session);
    let value = session.get_attributes(key, &[AttributeType::Value]);
    assert!(value.is_err() || value.unwrap().is_empty());
    let aes = [Attribute::Token(false), Attribute::ValueLen(32.into()), Attribute::Wrap(true)];
    let aes = session.generate_key(&Mechanism::AesKeyGen, &aes).unwrap();
    let rsa = [Attribute::Token(false), Attribute::ModulusBits(2048.into()), Attribute::Wrap(true)];
    let free = free(&session);
    let (rsa, _) = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &rsa, &[]).unwrap();
    let pad = Mechanism::AesKeyWrapPad;
    for (mechanism, under) in [(&pad, aes), (&Mechanism::RsaPkcs, rsa), (&pad, key)] {
        assert!(session.wrap_key(mechanism, under, free).is_ok());
        let refused = session.wrap_key(mechanism, under, key).unwrap_err();
        assert!(matches!(refused, Error::Pkcs11(RvError::KeyNotWrappable, _)), "{mechanism:?}: {refused}");
    }
    for template in [Attribute::WrapWithTrusted(false), Attribute::Sensitive(false)] {
        assert!(session.update_attributes(key, std::slice::from_ref(&template)).is_err(), "{template:?}");
        assert!(session.copy_object(key, &[template]).is_err());
    }
    assert!(session.update_attributes(rsa, &[Attribute::Trusted(true)]).is_err());
}

#[tokio::test]
async fn a_sole_wrapping_key_stays_where_it_is() {
    let _turn = turn().await;
    let (a, b) = two(bare_token());
    let made = done(&a, MakeWrappingKey { sole: true }).await;
    assert!(made.created && made.leaves == Leaves::Never);
    assert!(made.to_string().contains("cannot leave"), "{made}");
    let error = joined(&a, &b, SO_PIN).await.unwrap_err();
    assert!(error.code.contains("can never leave") && error.code.contains("cloning"), "{error}");
    assert_eq!(count(&logged_in(&b)), 0);
}

#[tokio::test]
async fn an_hsm_with_another_wrapping_key_keeps_it() {
    let _turn = turn().await;
    let (a, b) = two(token());
    let own = init_wrapping_key(&b).unwrap();
    let error = joined(&a, &b, SO_PIN).await.unwrap_err();
    assert!(error.code.contains("another wrapping key"), "{error}");
    assert_eq!(id(&logged_in(&b)), own.cka_id);
}

#[tokio::test]
async fn a_key_that_does_not_open_the_proof_is_not_kept() {
    let _turn = turn().await;
    let (a, b) = two(token());
    let of_a = id(&logged_in(&a));
    // Another key, which calls itself the same.
    let (_, impostor) = two(a.clone());
    let template = [
        Attribute::Token(true),
        Attribute::ValueLen(32.into()),
        Attribute::Id(of_a),
        Attribute::Label(a.wrapping_key_label.clone().into_bytes()),
        Attribute::Extractable(true),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ];
    logged_in(&impostor).generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    let proof = done(&a, Prove).await;
    let invited = done(&b, Invite { proof: proof.clone() }).await;
    let invitation = invited.waits().unwrap();
    let order = Release { so_pin: so_pin(&impostor, SO_PIN), proof: proof.clone(), invitation: invitation.clone() };
    let released = done(&impostor, order).await;
    let error = carry_out(&launch(), &b, Accept { proof, invitation, released }).await.err().unwrap();
    assert!(error.code.contains("does not read"), "{error}");
    assert_eq!(count(&logged_in(&b)), 0);
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn input(bytes: &[u8]) -> SecretBytes {
    SecretBytes::from(bytes.to_vec())
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

/// A session past the engine, to do to the token what others might do.
fn intruder(settings: &Settings) -> Session {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let label = settings.token.label.as_deref().unwrap();
    let is_ours = |slot: &_| pkcs11.get_token_info(*slot).unwrap().label().trim_end() == label;
    let slot = pkcs11.get_slots_with_initialized_token().unwrap().into_iter().find(is_ours).unwrap();
    pkcs11.open_rw_session(slot).unwrap()
}

/// Whether a handle that works is refused for this, as a mechanism that is not on its list.
fn is_refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Pkcs11(RvError::MechanismInvalid | RvError::KeyFunctionNotPermitted, _)))
}

async fn make(hsm: &Hsm, spec: KeySpec) -> Arc<Material> {
    let (mut id, usage, place) = (MaterialId([0; 32]), KeyUsage::EncryptDecrypt, Place::Wrapped);
    getrandom::fill(&mut id.0).unwrap();
    let made = hsm.call(Generate { id, spec, usage, place }, soon()).await;
    Arc::new(made.unwrap_or_else(|error| panic!("{error}")))
}
