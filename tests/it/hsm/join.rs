//! The wrapping key of one HSM comes to another: two tokens, and worker processes of the real program.

use strongroom::hsm::{Joined, Launch, Leaves, Step, StepDone, join, retry_pin, step};

use super::*;
use crate::softhsm::SO_PIN;

fn launch() -> Launch {
    Launch { program: env!("CARGO_BIN_EXE_strongroom").into(), arguments: vec!["hsm-worker".to_owned()] }
}

/// The security officer's PIN, or another, in a file.
fn so_pin(settings: &Settings, pin: &str) -> PinSource {
    let file = settings.ledger.with_extension("so-pin");
    std::fs::write(&file, pin).unwrap();
    PinSource::File(file)
}

/// Two tokens that one deployment uses: the second logs in by the ledger of the first.
fn two(first: Settings) -> (Settings, Settings) {
    let second = Settings { ledger: first.ledger.clone(), ..bare_token() };
    (first, second)
}

async fn joined(from: &Settings, to: &Settings, pin: &str) -> Result<Joined, HsmError> {
    join(&launch(), from, to, so_pin(from, pin), |_| {}).await
}

async fn done(settings: &Settings, order: Step) -> StepDone {
    step(&launch(), settings, order).await.unwrap()
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
    let (a, b) = two(token());
    assert_eq!(joined(&a, &b, SO_PIN).await, Ok(Joined::Now));
    let (one, other) = (Hsm::start(a.clone()).unwrap(), Hsm::start(b.clone()).unwrap());
    for (maker, reader) in [(&one, &other), (&other, &one)] {
        let key = aes(maker).await;
        let sealed = seal(maker, &key, b"plaintext").await.unwrap();
        assert_eq!(open(reader, &key, b"aad", &sealed).await.unwrap(), b"plaintext");
        let pair = make(maker, KeySpec::Rsa2048, wrapped()).await;
        let ciphertext = encrypt(maker, &pair, OAEP[0], b"plaintext").await.unwrap();
        assert_eq!(decrypt(reader, &pair, OAEP[0], &ciphertext).await.unwrap(), b"plaintext");
    }
    assert_eq!(nature(&intruder(&a)), nature(&intruder(&b)));
    assert!(is_bound(&intruder(&b)), "the key that came may be used with any mechanism");
    assert_eq!(joined(&a, &b, "not even looked at").await, Ok(Joined::Already));
    // And on: the second can give it to a third.
    let c = Settings { ledger: a.ledger.clone(), ..bare_token() };
    assert_eq!(joined(&b, &c, SO_PIN).await, Ok(Joined::Now));
    assert_eq!(nature(&intruder(&a)), nature(&logged_in(&c)));
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
    let (a, b) = two(token());
    // As a join that was killed: a pair to which no key comes.
    let StepDone::Proved(proof) = done(&a, Step::Prove).await else { panic!("no proof") };
    assert!(matches!(done(&b, Step::Invite(proof)).await, StepDone::Invited(_)));
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
    let (a, b) = two(token());
    let (at_a, at_b) = (logged_in(&a), logged_in(&b));
    let before = nature(&at_a);
    let error = joined(&a, &b, "wrong-so-pin").await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::PinRefused, "CKR_PIN_INCORRECT"));
    assert!(error.function.contains(&a.name) && error.function.contains("officer"), "{error}");
    // Where the service logs in meanwhile, the refusal is remembered all the same.
    Hsm::start(a.clone()).unwrap();
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
    let (a, b) = two(bare_token());
    let made = done(&a, Step::Init { sole: true }).await.found().unwrap().unwrap();
    assert!(made.created && made.leaves == Leaves::Never);
    assert!(made.to_string().contains("cannot leave"), "{made}");
    let error = joined(&a, &b, SO_PIN).await.unwrap_err();
    assert!(error.code.contains("can never leave") && error.code.contains("cloning"), "{error}");
    assert_eq!(count(&logged_in(&b)), 0);
}

#[tokio::test]
async fn an_hsm_with_another_wrapping_key_keeps_it() {
    let (a, b) = two(token());
    let own = init_wrapping_key(&b).unwrap();
    let error = joined(&a, &b, SO_PIN).await.unwrap_err();
    assert!(error.code.contains("another wrapping key"), "{error}");
    assert_eq!(id(&logged_in(&b)), own.cka_id);
}

#[tokio::test]
async fn a_key_that_does_not_open_the_proof_is_not_kept() {
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
    let StepDone::Proved(proof) = done(&a, Step::Prove).await else { panic!("no proof") };
    let StepDone::Invited(invited) = done(&b, Step::Invite(proof.clone())).await else { panic!("no invitation") };
    let invitation = invited.waits().unwrap();
    let order =
        Step::Release { so_pin: so_pin(&impostor, SO_PIN), proof: proof.clone(), invitation: invitation.clone() };
    let StepDone::Released(released) = done(&impostor, order).await else { panic!("no key") };
    let error = step(&launch(), &b, Step::Accept { proof, invitation, released }).await.err().unwrap();
    assert!(error.code.contains("does not read"), "{error}");
    assert_eq!(count(&logged_in(&b)), 0);
}
