//! Material: made, wrapped, kept, destroyed, and what of it is in the HSM meanwhile.

use std::sync::Arc;

use cryptoki::object::{Attribute, ObjectClass};
use strongroom::hsm::command::{Generate, Place};
use strongroom::hsm::{Kind, Settings};
use strongroom::key::material::{Keeping, Material, MaterialId};
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{OAEP, aes, decrypt, encrypt, intruder, kind, make, open, seal, soon, stored, wrapped};
use crate::engine::Engine;
use crate::tokens::token;

#[tokio::test]
async fn the_longest_key_goes_through_the_wrap() {
    let hsm = Engine::start(token()).unwrap();
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
        let hsm = Engine::start(settings.clone()).unwrap();
        let (one, other) = (aes(&hsm).await, make(&hsm, KeySpec::SymmetricDefault, stored()).await);
        let sealed = [seal(&hsm, &one, b"one").await.unwrap(), seal(&hsm, &other, b"other").await.unwrap()];
        (one, other, sealed)
    };
    let hsm = Engine::start(settings).unwrap();
    let Keeping::Wrapped { mechanism, .. } = &wrapped_key.keeping else { panic!("not wrapped") };
    assert_eq!(Some(*mechanism), hsm.profile().wrap);
    assert_eq!(open(&hsm, &wrapped_key, b"aad", &sealed[0]).await.unwrap(), b"one");
    assert_eq!(open(&hsm, &stored_key, b"aad", &sealed[1]).await.unwrap(), b"other");
}

#[tokio::test]
async fn generation_leaves_no_objects_behind() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let intruder = intruder(&settings);
    let before = intruder.find_objects(&[]).unwrap().len();
    aes(&hsm).await;
    make(&hsm, KeySpec::Rsa2048, wrapped()).await;
    assert_eq!(intruder.find_objects(&[]).unwrap().len(), before);
}

#[tokio::test]
async fn evicted_keys_leave_the_hsm() {
    let settings = Settings { cached_handles: 2, ..token() };
    let hsm = Engine::start(settings.clone()).unwrap();
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
    let hsm = Engine::start(settings.clone()).unwrap();
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
    let hsm = Engine::start(token()).unwrap();
    let place = stored();
    let key = make(&hsm, KeySpec::SymmetricDefault, place).await;
    let (id, spec, usage) = (MaterialId([0xcc; 32]), KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    assert_eq!(kind(hsm.call(Generate { id, spec, usage, place }, soon()).await), Kind::SessionLost);
    assert!(seal(&hsm, &key, b"x").await.is_ok());
}

#[tokio::test]
async fn forgotten_material_is_unwrapped_again() {
    let hsm = Engine::start(token()).unwrap();
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
    let hsm = Engine::start(settings.clone()).unwrap();
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
    let hsm = Engine::start(token()).unwrap();
    let key = aes(&hsm).await;
    let mut damaged = Material { id: MaterialId([0xee; 32]), ..(*key).clone() };
    let Keeping::Wrapped { blob, .. } = &mut damaged.keeping else { panic!("not wrapped") };
    blob[5] ^= 1;
    assert_eq!(kind(seal(&hsm, &Arc::new(damaged), b"x").await), Kind::KeyMissing);
    assert!(seal(&hsm, &key, b"x").await.is_ok());
}
