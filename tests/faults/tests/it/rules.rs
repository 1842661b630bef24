//! Every kind of rule does what it says, and nothing when it does not match.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_faults::rule::{Action, Delay, Lie, Rule, Tale};

use crate::call;
use crate::p11::{Attribute, aes_with};
use crate::token::Bench;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_code_instead_of_the_call_which_the_hsm_has_not_seen() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let rule = bench.control.rule(Rule::on("C_Encrypt").nth(2).once().before().answer(CKR_DEVICE_ERROR));
    let encrypt = |iv| bench.p11.encrypt(session, key, &[iv; 12], b"data");
    assert!(encrypt(1).is_ok());
    assert_eq!(encrypt(2), Err(CKR_DEVICE_ERROR));
    assert_eq!(bench.control.active_operations(), 0, "a work function that fails has ended its operation");
    assert!(encrypt(3).is_ok());
    assert_eq!(bench.control.hits(rule), 1);
    assert_eq!(bench.control.complaints(), [""; 0]);
}

#[test]
fn a_vendor_code_for_every_call_until_the_rule_is_removed() {
    let bench = Bench::new();
    let session = bench.open();
    let rule = bench.control.rule(Rule::on_any().answer(0x8000_0001));
    assert_eq!(bench.p11.random(session, 8), Err(0x8000_0001));
    assert_eq!(bench.p11.digest(session, CKM_SHA256, b"x"), Err(0x8000_0001));
    bench.control.remove(rule);
    assert!(bench.p11.random(session, 8).is_ok());
    assert_eq!(bench.control.hits(rule), 2);
}

#[test]
fn a_code_after_the_call_loses_the_answer_and_not_the_deed() {
    let bench = Bench::new();
    let session = bench.user();
    bench.control.rule(Rule::on("C_GenerateKey").once().after().answer(CKR_DEVICE_ERROR));
    let template = aes_with(&[Attribute::flag(CKA_TOKEN, true), Attribute::bytes(CKA_ID, b"lost")]);
    assert_eq!(bench.p11.generate(session, &template), Err(CKR_DEVICE_ERROR));
    assert_eq!(bench.p11.find_id(session, b"lost").unwrap().len(), 1);

    bench.control.rule(Rule::on("C_GenerateKey").once().before().answer(CKR_DEVICE_ERROR));
    let template = aes_with(&[Attribute::flag(CKA_TOKEN, true), Attribute::bytes(CKA_ID, b"never")]);
    assert_eq!(bench.p11.generate(session, &template), Err(CKR_DEVICE_ERROR));
    assert_eq!(bench.p11.find_id(session, b"never").unwrap().len(), 0);
}

#[test]
fn a_rule_is_about_its_session_its_mechanism_and_its_window() {
    let bench = Bench::new();
    let (one, key) = bench.key();
    let other = bench.open();
    bench.control.rule(Rule::on("C_GenerateRandom").session(other).answer(5));
    assert!(bench.p11.random(one, 4).is_ok());
    assert_eq!(bench.p11.random(other, 4), Err(5));

    bench.control.rule(Rule::on_any().mechanism(CKM_SHA384).answer(6));
    assert!(bench.p11.digest(one, CKM_SHA256, b"x").is_ok());
    assert_eq!(bench.p11.digest(one, CKM_SHA384, b"x"), Err(6));

    // A work function has the mechanism of its operation.
    bench.control.rule(Rule::on("C_Encrypt").mechanism(CKM_AES_GCM).answer(7));
    assert_eq!(bench.p11.encrypt(one, key, &[1; 12], b"x"), Err(7));

    bench.control.clear();
    let later = 3_600_000;
    bench.control.rule(Rule::on_any().window_ms(later, 2 * later).answer(8));
    bench.control.rule(Rule::on_any().window_ms(0, 0).answer(8));
    assert!(bench.p11.random(one, 4).is_ok());
    bench.control.rule(Rule::on_any().window_ms(0, later).answer(8));
    assert_eq!(bench.p11.random(one, 4), Err(8));
}

#[test]
fn chance_falls_the_same_way_with_the_same_seed() {
    let bench = Bench::new();
    let session = bench.open();
    let falls = |seed| {
        let rule = bench.control.rule(Rule::on("C_GenerateRandom").chance(0.5, seed).answer(5));
        let falls: Vec<bool> = (0..40).map(|_| bench.p11.random(session, 4).is_err()).collect();
        bench.control.remove(rule);
        falls
    };
    let first = falls(1);
    assert_eq!(first, falls(1));
    assert_ne!(first, falls(2));
    assert!((5..35).contains(&first.iter().filter(|fell| **fell).count()), "{first:?}");
}

#[test]
fn delays_are_as_long_as_they_are_said_to_be() {
    let bench = Bench::new();
    let session = bench.open();
    let took = |delay| {
        let rule = bench.control.rule(Rule::on("C_GenerateRandom").act(Action::Delay(delay)));
        let begun = Instant::now();
        bench.p11.random(session, 4).unwrap();
        bench.control.remove(rule);
        begun.elapsed()
    };
    assert!(took(Delay::Fixed { micros: 60_000 }) >= Duration::from_millis(60));
    let uniform = took(Delay::Uniform { from_micros: 20_000, to_micros: 30_000 });
    assert!(uniform >= Duration::from_millis(20), "{uniform:?}");
    assert!(took(Delay::LogNormal { median_micros: 40_000, sigma: 0.01 }) >= Duration::from_millis(30));
    bench.control.rule(Rule::on("C_GenerateRandom").after().delay_ms(50));
    let begun = Instant::now();
    bench.p11.random(session, 4).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(50));
}

#[test]
fn what_hangs_goes_on_when_it_is_released_or_its_rule_removed() {
    let bench = Bench::new();
    let session = bench.open();
    for end in [true, false] {
        let rule = bench.control.rule(Rule::on("C_GenerateRandom").hang());
        thread::scope(|scope| {
            let hanging = scope.spawn(|| bench.p11.random(session, 4));
            until(|| bench.control.calls().iter().filter(|call| call.outcome.is_none()).count() == 1);
            thread::sleep(Duration::from_millis(30));
            assert!(!hanging.is_finished());
            if end {
                bench.control.release()
            } else {
                bench.control.remove(rule)
            }
            assert!(hanging.join().unwrap().is_ok());
        });
        bench.control.clear();
    }
}

#[test]
fn what_hangs_for_ever_is_not_released() {
    let bench: &'static Bench = Box::leak(Box::new(Bench::new()));
    let session = bench.open();
    bench.control.rule(Rule::on("C_GenerateRandom").once().act(Action::HangForEver));
    let hanging = thread::spawn(move || bench.p11.random(session, 4));
    until(|| bench.control.calls().iter().any(|call| call.outcome.is_none()));
    bench.control.release();
    bench.control.clear();
    thread::sleep(Duration::from_millis(50));
    assert!(!hanging.is_finished());
}

#[test]
fn a_barrier_tells_when_a_call_has_come_to_it() {
    let bench = Bench::new();
    let session = bench.user();
    let rule = bench.control.rule(Rule::on("C_GenerateKey").once().after().stop());
    assert!(!bench.control.wait_stopped(rule, Duration::from_millis(20)));
    let template = aes_with(&[Attribute::flag(CKA_TOKEN, true), Attribute::bytes(CKA_ID, b"stopped")]);
    thread::scope(|scope| {
        let stopped = scope.spawn(|| bench.p11.generate(session, &template));
        assert!(bench.control.wait_stopped(rule, SOON));
        // It stands after the call: the key is there, and nobody has been told.
        let other = bench.open();
        assert_eq!(bench.p11.find_id(other, b"stopped").unwrap().len(), 1);
        assert!(!stopped.is_finished());
        bench.control.release();
        assert!(stopped.join().unwrap().is_ok());
        assert!(!bench.control.wait_stopped(rule, Duration::ZERO));
    });
}

#[test]
fn a_bit_flips_in_each_output() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let right = bench.p11.encrypt(session, key, &[1; 12], b"data").unwrap();
    bench.control.rule(Rule::on("C_Encrypt").once().flip_bit());
    let wrong = bench.p11.encrypt(session, key, &[1; 12], b"data").unwrap();
    assert_eq!((wrong[0], &wrong[1..]), (right[0] ^ 1, &right[1..]));

    let mut template = [Attribute::bytes(CKA_ID, &[0; 4])];
    template[0] = Attribute::bytes(CKA_ID, b"4321");
    let mut raw = crate::p11::raw(&mut template);
    assert_eq!(call!(bench.p11, C_SetAttributeValue(session, key, raw.as_mut_ptr(), 1)), CKR_OK);
    bench.control.rule(Rule::on("C_GetAttributeValue").once().flip_bit());
    assert_eq!(call!(bench.p11, C_GetAttributeValue(session, key, raw.as_mut_ptr(), 1)), CKR_OK);
    assert_eq!(template[0].1, b"5321");
}

#[test]
fn outputs_of_two_sessions_are_exchanged() {
    let bench = Bench::new();
    let (one, other) = (bench.open(), bench.open());
    let digest = |session, data: &[u8]| bench.p11.digest(session, CKM_SHA256, data).unwrap();
    let (a, b) = (digest(one, b"a"), digest(one, b"b"));
    bench.control.rule(Rule::on("C_Digest").times(2).act(Action::Swap));
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| (ready.wait(), digest(one, b"a")).1);
        let second = scope.spawn(|| (ready.wait(), digest(other, b"b")).1);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (b.clone(), a.clone()));
    });
    assert_eq!(digest(one, b"a"), a);
}

#[test]
fn lengths_are_lies() {
    let bench = Bench::new();
    let (session, key) = bench.key();
    let length = |lie, iv| {
        bench.control.rule(Rule::on("C_Encrypt").once().act(Action::Length(lie)));
        assert_eq!(bench.p11.encrypt_init(session, key, &[iv; 12]), CKR_OK);
        let (code, _, len) = bench.p11.encrypt_into(session, b"data", 20);
        (code, len)
    };
    assert_eq!(length(Lie::Longer(1000), 1), (CKR_OK, 1020));
    assert_eq!(length(Lie::Shorter(3), 2), (CKR_OK, 17));
    assert_eq!(length(Lie::TooSmall, 3), (CKR_BUFFER_TOO_SMALL, 36));
    assert_eq!(bench.control.active_operations(), 1, "as after the real CKR_BUFFER_TOO_SMALL");
    assert_eq!(bench.p11.encrypt_into(session, b"data", 36).0, CKR_OK);
}

#[test]
fn randomness_fails() {
    let bench = Bench::new();
    let session = bench.open();
    let rule = bench.control.rule(Rule::on("C_GenerateRandom").act(Action::ConstantRandom(0)));
    assert_eq!(bench.p11.random(session, 32).unwrap(), [0; 32]);
    bench.control.remove(rule);
    let rule = bench.control.rule(Rule::on("C_GenerateRandom").act(Action::RepeatRandom));
    let first = bench.p11.random(session, 32).unwrap();
    assert_eq!(bench.p11.random(session, 32).unwrap(), first);
    assert_eq!(bench.p11.random(session, 8).unwrap(), first[..8]);
    bench.control.remove(rule);
    assert_ne!(bench.p11.random(session, 32).unwrap(), first);
}

#[test]
fn an_operation_is_left_active() {
    for function in ["C_Encrypt", "C_EncryptInit"] {
        let bench = Bench::new();
        let (session, key) = bench.key();
        bench.control.rule(Rule::on(function).once().act(Action::LeaveActive(CKR_DEVICE_ERROR)));
        assert_eq!(bench.p11.encrypt(session, key, &[1; 12], b"x"), Err(CKR_DEVICE_ERROR));
        assert_eq!(bench.control.active_operations(), 1, "{function}");
        assert_eq!(bench.p11.encrypt(session, key, &[2; 12], b"x"), Err(CKR_OPERATION_ACTIVE));
        assert_eq!(bench.control.complaints(), ["C_EncryptInit: an operation is still active in its session"]);
    }
}

#[test]
fn without_a_controller_everything_is_as_it_was() {
    let Bench { p11, slot, control, dir: _dir, .. } = Bench::new();
    let session = p11.open(slot).unwrap();
    control.rule(Rule::on("C_GenerateRandom").hang());
    control.world(strongroom_faults::control::World::Full { on: true });
    thread::scope(|scope| {
        let hanging = scope.spawn(|| p11.random(session, 4));
        until(|| control.calls().iter().any(|call| call.outcome.is_none()));
        drop(control);
        assert!(hanging.join().unwrap().is_ok());
    });
    assert!(p11.random(session, 4).is_ok());
}

pub fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON);
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_it_says_of_itself_is_not_so_and_the_label_stays() {
    let bench = Bench::new();
    let told = |tale, slot| {
        let rule = bench.control.rule(Rule::on("C_GetTokenInfo").slot(slot).tell(tale));
        let mut info = CK_TOKEN_INFO::default();
        assert_eq!(call!(bench.p11, C_GetTokenInfo(bench.slot, &mut info)), CKR_OK);
        bench.control.remove(rule);
        assert_ne!(info.flags & CKF_TOKEN_INITIALIZED, 0);
        assert_eq!(
            info.label.split(|byte| *byte == 0).next().unwrap().trim_ascii_end(),
            bench.label.trim_end().as_bytes()
        );
        info
    };
    let truth = told(Tale::Blanks, bench.slot + 1);
    assert_ne!(truth.model, [b' '; 16]);
    assert_eq!(told(Tale::Blanks, bench.slot).model, [b' '; 16]);
    assert!(told(Tale::Zeros, bench.slot).label.contains(&0));
    assert_eq!(told(Tale::Unpadded, bench.slot).serialNumber, [b'x'; 16]);
    let flags = told(Tale::Flags, bench.slot);
    assert_ne!(flags.flags & CKF_CLOCK_ON_TOKEN, 0);
    assert_eq!(flags.utcTime, [b' '; 16]);
    assert_eq!(told(Tale::Numbers(7), bench.slot).ulMaxSessionCount, 7);
}

#[test]
fn there_seem_to_be_more_slots_than_there_are() {
    let bench = Bench::new();
    let count = || {
        let mut count = 0;
        assert_eq!(call!(bench.p11, C_GetSlotList(CK_TRUE, std::ptr::null_mut(), &mut count)), CKR_OK);
        count
    };
    bench.control.rule(Rule::on("C_GetSlotList").once().longer(1 << 40));
    assert!(count() > 1 << 40);
    assert!(count() < 1 << 40);
}
