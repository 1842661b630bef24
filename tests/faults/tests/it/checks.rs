//! Every check on the caller: the defect is complained about, and its nearest lawful relative is not.

use std::time::Duration;

use cryptoki_sys::*;
use strongroom_faults::rule::Rule;

use crate::call;
use crate::p11::{Attribute, aes, aes_with, mechanism, raw};
use crate::token::Bench;

const NONE: [&str; 0] = [];

#[test]
fn two_threads_in_one_session() {
    let bench = Bench::new();
    let (one, other) = (bench.open(), bench.open());
    let during = |session| {
        let rule = bench.control.rule(Rule::on("C_GenerateRandom").session(one).stop());
        std::thread::scope(|scope| {
            let stopped = scope.spawn(|| bench.p11.random(one, 4));
            assert!(bench.control.wait_stopped(rule, Duration::from_secs(5)));
            bench.p11.digest(session, CKM_SHA256, b"x").unwrap();
            bench.control.remove(rule);
            assert!(stopped.join().unwrap().is_ok());
        });
        bench.control.complaints()
    };
    assert_eq!(during(other), NONE);
    let text = "another thread is in a call of the same session";
    assert_eq!(during(one), [format!("C_DigestInit: {text}"), format!("C_Digest: {text}")]);
}

#[test]
fn an_object_that_goes_while_it_is_used() {
    let bench = Bench::new();
    let other = bench.open();
    let encrypting = |function, leave: fn(&Bench, u64, u64)| {
        let (owner, key) = bench.key();
        let rule = bench.control.rule(Rule::on(function).session(other).once().stop());
        std::thread::scope(|scope| {
            let encrypts = scope.spawn(|| bench.p11.encrypt(other, key, &[1; 12], b"x"));
            assert!(bench.control.wait_stopped(rule, Duration::from_secs(5)));
            leave(&bench, owner, key);
            bench.control.remove(rule);
            let _ = encrypts.join().unwrap();
        });
        bench.control.complaints()
    };
    let text = "an object goes while another session uses it";
    assert_eq!(encrypting("C_EncryptInit", |bench, _, _| assert_eq!(bench.p11.close(bench.open()), CKR_OK)), NONE);
    let destroy: fn(&Bench, u64, u64) = |bench, owner, key| assert_eq!(bench.p11.destroy(owner, key), CKR_OK);
    assert_eq!(encrypting("C_Encrypt", destroy), [format!("C_DestroyObject: {text}")]);
    let close: fn(&Bench, u64, u64) = |bench, owner, _| assert_eq!(bench.p11.close(owner), CKR_OK);
    let both = encrypting("C_EncryptInit", close);
    assert!(both.contains(&format!("C_CloseSession: {text}")), "{both:?}");
}

#[test]
fn use_after_close() {
    let bench = Bench::new();
    let session = bench.open();
    assert_eq!(bench.p11.close(session), CKR_OK);
    assert_eq!(bench.p11.random(999, 4), Err(CKR_SESSION_HANDLE_INVALID));
    assert_eq!(bench.control.complaints(), NONE, "that was never a session");
    assert_eq!(bench.p11.random(session, 4), Err(CKR_SESSION_HANDLE_INVALID));
    assert_eq!(bench.p11.random(session, 4), Err(CKR_SESSION_HANDLE_INVALID));
    assert_eq!(bench.control.complaints(), ["C_GenerateRandom: its session has been closed (2 times)"]);
}

#[test]
fn a_handle_from_before_a_logout() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let destroyed = bench.p11.generate(session, &aes()).unwrap();
    assert_eq!(bench.p11.destroy(session, destroyed), CKR_OK);
    assert!(bench.p11.encrypt(session, destroyed, &[1; 12], b"x").is_err());
    assert_eq!(bench.control.complaints(), NONE, "a destroyed object is another matter");
    assert_eq!(call!(bench.p11, C_Logout(session)), CKR_OK);
    bench.user();
    assert!(bench.p11.encrypt(session, key, &[1; 12], b"x").is_err());
    assert_eq!(bench.control.complaints(), ["C_EncryptInit: a handle from before a logout or reboot"]);
}

#[test]
fn an_init_while_an_operation_is_active() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    assert_eq!(bench.p11.encrypt_init(session, key, &[1; 12]), CKR_OK);
    assert_eq!(bench.p11.encrypt_into(session, b"data", 3).0, CKR_BUFFER_TOO_SMALL);
    assert_eq!(bench.p11.encrypt_into(session, b"data", 20).0, CKR_OK);
    assert_eq!(bench.p11.encrypt_init(session, key, &[2; 12]), CKR_OK);
    assert_eq!(bench.control.complaints(), NONE);
    assert_eq!(bench.p11.decrypt_init(session, key, &[3; 12]), CKR_OPERATION_ACTIVE);
    assert_eq!(bench.control.complaints(), ["C_DecryptInit: an operation is still active in its session"]);
}

#[test]
fn keys_that_can_be_read_or_taken_away() {
    let bench = Bench::new();
    let session = bench.user();
    let make = |changes: &[Attribute]| bench.p11.generate(session, &aes_with(changes)).unwrap();
    let passing = make(&[Attribute::flag(CKA_EXTRACTABLE, true)]);
    assert_eq!(bench.p11.destroy(session, passing), CKR_OK);
    make(&[Attribute::flag(CKA_TOKEN, true)]);
    assert_eq!(bench.control.complaints(), NONE);

    make(&[Attribute::flag(CKA_SENSITIVE, false)]);
    make(&[Attribute::flag(CKA_TOKEN, true), Attribute::flag(CKA_EXTRACTABLE, true)]);
    let mut imported = aes_with(&[Attribute::flag(CKA_SENSITIVE, false), Attribute::bytes(CKA_VALUE, &[1; 32])]);
    imported.retain(|one| one.0 != CKA_VALUE_LEN);
    bench.p11.create(session, &imported).unwrap();
    assert_eq!(
        bench.control.complaints(),
        [
            "C_GenerateKey: a key with CKA_SENSITIVE false",
            "C_GenerateKey: a token object with CKA_EXTRACTABLE true",
            "C_CreateObject: a key with CKA_SENSITIVE false",
        ]
    );
}

#[test]
fn an_extractable_key_left_behind() {
    let bench = Bench::new();
    let extractable = aes_with(&[Attribute::flag(CKA_EXTRACTABLE, true)]);
    let tidy = bench.user();
    let key = bench.p11.generate(tidy, &extractable).unwrap();
    bench.p11.generate(tidy, &aes()).unwrap();
    assert_eq!(bench.p11.destroy(tidy, key), CKR_OK);
    let untidy = bench.open();
    bench.p11.generate(untidy, &extractable).unwrap();
    assert_eq!(bench.p11.close(tidy), CKR_OK);
    assert_eq!(bench.control.complaints(), NONE);
    assert_eq!(bench.p11.close(untidy), CKR_OK);
    assert_eq!(bench.control.complaints(), ["C_CloseSession: an extractable key is still there"]);
}

#[test]
fn an_iv_twice_under_one_key() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let other = bench.p11.generate(session, &aes()).unwrap();
    let sealed = bench.p11.encrypt(session, key, &[1; 12], b"x").unwrap();
    bench.p11.encrypt(session, key, &[2; 12], b"x").unwrap();
    bench.p11.encrypt(session, other, &[1; 12], b"x").unwrap();
    bench.p11.decrypt(session, key, &[1; 12], &sealed).unwrap();
    assert_eq!(bench.control.complaints(), NONE);
    bench.p11.encrypt(session, key, &[1; 12], b"x").unwrap();
    assert_eq!(bench.control.complaints(), ["C_EncryptInit: an IV of AES-GCM for the second time under one key"]);
}

#[test]
fn raw_rsa_is_counted() {
    let bench = Bench::new();
    let session = bench.user();
    let mut public = [
        Attribute::number(CKA_MODULUS_BITS, 1024),
        Attribute::bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1]),
        Attribute::flag(CKA_ENCRYPT, true),
    ];
    let mut private = [
        Attribute::flag(CKA_SENSITIVE, true),
        Attribute::flag(CKA_EXTRACTABLE, false),
        Attribute::flag(CKA_DECRYPT, true),
    ];
    let (mut public, mut private) = (raw(&mut public), raw(&mut private));
    let (mut how, mut pair) = (mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN), [0; 2]);
    let [open, secret] = pair.each_mut().map(std::ptr::from_mut);
    let (public, private) = (public.as_mut_ptr(), private.as_mut_ptr());
    assert_eq!(call!(bench.p11, C_GenerateKeyPair(session, &mut how, public, 3, private, 3, open, secret)), CKR_OK);
    assert_eq!(bench.control.raw_rsa(), 0);
    let mut how = mechanism(CKM_RSA_X_509);
    assert_eq!(call!(bench.p11, C_DecryptInit(session, &mut how, pair[1])), CKR_OK);
    assert_eq!(bench.control.raw_rsa(), 1);
    assert_eq!(bench.control.complaints(), NONE);
}
