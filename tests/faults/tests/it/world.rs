//! Every event: what a caller sees of it, and that it ends.

use std::time::Duration;

use cryptoki_sys::*;
use strongroom_faults::control::World;

use crate::call;
use crate::p11::{Attribute, aes, aes_with};
use crate::token::{Bench, PIN};

/// A token object with this id.
fn kept(id: &[u8]) -> Vec<Attribute> {
    aes_with(&[Attribute::flag(CKA_TOKEN, true), Attribute::bytes(CKA_ID, id)])
}

#[test]
fn killed_sessions_are_void_and_new_ones_serve() {
    let bench = Bench::new();
    let bystander = Bench::new();
    let (session, _) = bench.key();
    let other = bystander.open();
    assert_eq!(bench.control.open_sessions(), 1);
    bench.control.world(World::KillSessions);
    assert_eq!(bench.p11.random(session, 4), Err(CKR_SESSION_HANDLE_INVALID));
    assert_eq!(bench.control.open_sessions(), 0);
    assert!(bystander.p11.random(other, 4).is_ok(), "another copy of the module in this process notices nothing");
    assert_eq!(bench.p11.close(session), CKR_SESSION_HANDLE_INVALID);
    let session = bench.user();
    assert!(bench.p11.generate(session, &aes()).is_ok());
    assert_eq!(bench.control.complaints(), [""; 0], "nobody could know");
}

#[test]
fn logged_out_means_that_private_objects_are_not_there_until_the_next_login() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    bench.p11.generate(session, &kept(b"kept")).unwrap();
    assert_eq!(bench.p11.encrypt_init(session, key, &[9; 12]), CKR_OK);
    bench.control.world(World::LogOut);
    assert_eq!(bench.p11.encrypt_into(session, b"x", 32).0, CKR_USER_NOT_LOGGED_IN, "an operation does not outlive it");
    assert_eq!(bench.p11.encrypt(session, key, &[1; 12], b"x"), Err(CKR_USER_NOT_LOGGED_IN));
    assert_eq!(bench.p11.generate(session, &aes()), Err(CKR_USER_NOT_LOGGED_IN));
    assert_eq!(bench.p11.create(session, &aes()), Err(CKR_USER_NOT_LOGGED_IN));
    assert_eq!(bench.p11.find_id(session, b"kept").unwrap().len(), 0);
    assert_eq!(bench.p11.session_state(session), Ok(CKS_RW_PUBLIC_SESSION));
    assert_eq!(call!(bench.p11, C_Logout(session)), CKR_USER_NOT_LOGGED_IN);
    assert!(bench.p11.random(session, 4).is_ok(), "what needs no login goes on");

    assert_eq!(bench.p11.login(session, "wrong-pin"), CKR_PIN_INCORRECT, "though the real login is there");
    assert_eq!(bench.p11.login(session, PIN), CKR_OK);
    assert_eq!(bench.p11.session_state(session), Ok(CKS_RW_USER_FUNCTIONS));
    assert_eq!(bench.p11.find_id(session, b"kept").unwrap().len(), 1);
    assert_eq!(bench.control.complaints(), [""; 0]);
    assert!(bench.p11.encrypt(session, key, &[1; 12], b"x").is_err(), "its handle is from before");
    assert_eq!(bench.control.complaints(), ["C_EncryptInit: a handle from before a logout or reboot"]);
}

#[test]
fn a_reboot_keeps_token_objects_only_and_gives_them_other_handles() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let before = bench.p11.generate(session, &kept(b"kept")).unwrap();
    bench.control.world(World::Reboot);
    assert_eq!(bench.p11.random(session, 4), Err(CKR_SESSION_HANDLE_INVALID));
    let session = bench.open();
    assert_eq!(bench.p11.find_id(session, b"kept").unwrap().len(), 0);
    assert_eq!(bench.p11.login(session, PIN), CKR_OK);
    let found = bench.p11.find_id(session, b"kept").unwrap();
    assert_eq!(found.len(), 1);
    assert_ne!(found[0], before);
    assert!(bench.p11.encrypt(session, found[0], &[1; 12], b"x").is_ok());
    assert_eq!(bench.p11.encrypt(session, before, &[2; 12], b"x"), bench.p11.encrypt(session, 0, &[2; 12], b"x"));
    assert!(bench.p11.encrypt(session, key, &[3; 12], b"x").is_err());
}

#[test]
fn a_token_vanishes_and_returns() {
    let bench = Bench::new();
    let session = bench.user();
    for code in [CKR_TOKEN_NOT_PRESENT, CKR_DEVICE_REMOVED] {
        bench.control.world(World::Vanish { code });
        assert_eq!(bench.p11.random(session, 4), Err(code));
        assert_eq!(bench.p11.open(bench.slot), Err(code));
        assert_eq!(bench.p11.token_flags(bench.slot), Err(code));
        assert_eq!(bench.p11.slots(), [0; 0]);
    }
    bench.control.world(World::Return);
    assert_eq!(bench.p11.random(session, 4), Err(CKR_SESSION_HANDLE_INVALID));
    assert!(bench.p11.slots().contains(&bench.slot));
    let session = bench.open();
    assert_eq!(bench.p11.generate(session, &aes()), Err(CKR_USER_NOT_LOGGED_IN));
    assert_eq!(bench.p11.login(session, PIN), CKR_OK);
}

#[test]
fn a_failover_is_a_while_of_errors_and_then_other_handles() {
    let bench = Bench::new();
    let session = bench.user();
    let before = bench.p11.generate(session, &kept(b"kept")).unwrap();
    bench.control.world(World::Failover { millis: 300 });
    assert_eq!(bench.p11.random(session, 4), Err(CKR_DEVICE_ERROR));
    std::thread::sleep(Duration::from_millis(350));
    assert!(bench.p11.random(session, 4).is_ok());
    assert!(bench.p11.encrypt(session, before, &[1; 12], b"x").is_err());
    let found = bench.p11.find_id(session, b"kept").unwrap();
    assert!(bench.p11.encrypt(session, found[0], &[1; 12], b"x").is_ok());
}

#[test]
fn sessions_have_a_cap() {
    let bench = Bench::new();
    bench.control.world(World::CapSessions { sessions: 2, code: CKR_ARGUMENTS_BAD });
    let (one, _other) = (bench.open(), bench.open());
    assert_eq!(bench.p11.open(bench.slot), Err(CKR_ARGUMENTS_BAD));
    assert_eq!(bench.p11.close(one), CKR_OK);
    bench.open();
    bench.control.world(World::UncapSessions);
    bench.open();
}

#[test]
fn token_objects_are_hidden_and_shown() {
    let bench = Bench::new();
    let (session, passing) = bench.key();
    let [one, other] = [b"one", b"two"].map(|id| bench.p11.generate(session, &kept(id)).unwrap());
    let works = |key, iv| bench.p11.encrypt(session, key, &[iv; 12], b"x").is_ok();
    bench.control.world(World::Hide { id: Some(b"one".to_vec()) });
    assert_eq!(bench.p11.find_id(session, b"one").unwrap().len(), 0);
    assert_eq!(bench.p11.find(session, &[]).unwrap().len(), 2);
    assert!(!works(one, 1) && works(other, 2) && works(passing, 3));
    bench.control.world(World::Hide { id: None });
    assert!(!works(other, 4) && works(passing, 5));
    bench.control.world(World::Show);
    assert!(works(one, 6) && works(other, 7));
    assert_eq!(bench.p11.find_id(session, b"one").unwrap(), [one]);
    assert_eq!(bench.control.complaints(), [""; 0]);
}

#[test]
fn finds_come_twice() {
    let bench = Bench::new();
    let session = bench.user();
    for id in [b"one", b"two"] {
        bench.p11.generate(session, &kept(id)).unwrap();
    }
    bench.control.world(World::DuplicateFinds { on: true });
    let found = bench.p11.find_id(session, b"one").unwrap();
    assert!(found.len() == 2 && found[0] != found[1], "{found:?}");
    assert_eq!(bench.p11.find(session, &[]).unwrap().len(), 4);
    let sealed = bench.p11.encrypt(session, found[0], &[1; 12], b"x").unwrap();
    assert_eq!(bench.p11.decrypt(session, found[1], &[1; 12], &sealed).unwrap(), b"x", "it is the one object");
    bench.control.world(World::DuplicateFinds { on: false });
    assert_eq!(bench.p11.find_id(session, b"one").unwrap().len(), 1);
}

#[test]
fn random_bytes_are_one_byte() {
    let bench = Bench::new();
    let session = bench.open();
    bench.control.world(World::ConstantRandom { byte: Some(7) });
    assert_eq!(bench.p11.random(session, 16).unwrap(), [7; 16]);
    bench.control.world(World::ConstantRandom { byte: None });
    assert_ne!(bench.p11.random(session, 16).unwrap(), [7; 16]);
}

#[test]
fn a_full_hsm_makes_nothing_and_serves_what_is_there() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    bench.control.world(World::Full { on: true });
    assert_eq!(bench.p11.generate(session, &aes()), Err(CKR_DEVICE_MEMORY));
    assert!(bench.p11.encrypt(session, key, &[1; 12], b"x").is_ok());
    bench.control.world(World::Calm);
    assert!(bench.p11.generate(session, &aes()).is_ok());
}

#[test]
fn a_session_is_killed_under_a_call_without_harm() {
    let bench = Bench::new();
    let session = bench.open();
    let rule = bench.control.rule(strongroom_faults::rule::Rule::on("C_GenerateRandom").once().stop());
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| bench.p11.random(session, 4));
        assert!(bench.control.wait_stopped(rule, Duration::from_secs(5)));
        bench.control.world(World::KillSessions);
        bench.control.release();
        assert_eq!(stopped.join().unwrap(), Err(CKR_SESSION_HANDLE_INVALID));
    });
}
