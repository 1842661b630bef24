//! What the HSM lets be done with our objects (PKCS#11: attributes of keys, `CKA_ALLOWED_MECHANISMS`).

use std::ops::Deref;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use strongroom::hsm::OaepMethod;
use strongroom::key::spec::KeySpec;

use super::{OAEP, aes, decrypt, encrypt, intruder, make, seal, stored, wrapped};
use crate::engine::Engine;
use crate::skip::lacks;
use crate::tokens::token;

#[tokio::test]
async fn a_leased_key_cannot_leave_and_an_rsa_key_cannot_sign() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
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
        let hsm = Engine::start(settings.clone()).unwrap();
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
        if profile.oaep_sha256 == OaepMethod::RawWithHostUnpadding {
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
    let hsm = Engine::start(settings.clone()).unwrap();
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
