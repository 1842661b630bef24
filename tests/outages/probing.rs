//! What a probe makes of an HSM that is ill for a moment: it finds out what the HSM can do, or it fails. It never takes for a
//! lack, or for a proof of safety, what will have passed a moment later.
//!
//! Here, because tests take turns: SoftHSM2 aborts the process if two threads look for tokens while another makes one, and the
//! engine's own turns are taken by the path of the module, of which there are two here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki_sys::{
    CKR_DEVICE_ERROR, CKR_GENERAL_ERROR, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN,
};
use strongroom::hsm::{HsmError, Settings, init_wrapping_key, probe};
use strongroom_faults::control::{Controller, built, install};
use strongroom_faults::rule::Rule;

use crate::in_full;
use crate::tokens::bare_token;

/// A fault that is there for one call.
fn faults(function: &str) -> [Rule; 5] {
    [
        Rule::on(function).after().answer(CKR_SESSION_HANDLE_INVALID),
        Rule::on(function).before().answer(CKR_DEVICE_ERROR),
        Rule::on(function).after().answer(CKR_GENERAL_ERROR),
        Rule::on(function).before().answer(CKR_USER_NOT_LOGGED_IN),
        Rule::on(function).before().answer(CKR_TOKEN_NOT_PRESENT),
    ]
}

/// How often each function is called by `job`, of those that an HSM's keys are tried with.
fn counts(faults: &Controller, job: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = faults.counts();
    job();
    let is_tried = |function: &str| !["C_Initialize", "C_Finalize", "C_Login", "C_CloseSession"].contains(&function);
    let counts = faults.counts().into_iter().filter(|(function, _)| is_tried(function));
    let grown = counts.map(|(function, count)| (count - before.get(&function).unwrap_or(&0), function));
    grown.filter(|(count, _)| *count > 0).map(|(count, function)| (function, count)).collect()
}

/// Has `job` meet each fault at the first, a middle and the last call of each function, one in so many of them if not all are
/// asked for. Where it does not fail, it must come to what it came to without.
fn meets_faults<T: PartialEq + Debug>(one_in: usize, job: impl Fn(&Settings) -> Result<T, HsmError>) {
    let _turn = crate::turn();
    let (dir, token) = (tempfile::tempdir().unwrap(), bare_token());
    let module = install(dir.path(), &built(), &token.module).unwrap();
    let (control, settings) = (Controller::new(dir.path()).unwrap(), Settings { module, ..token });
    let known = job(&settings).unwrap();
    let counts = counts(&control, || drop(job(&settings).unwrap()));
    let calls = counts.iter().flat_map(|(function, count)| [1, count / 2 + 1, *count].map(|nth| (function, nth)));
    let all = calls.flat_map(|(function, nth)| faults(function).map(|fault| fault.nth(nth).once()));
    let (mut done, mut failed) = (0, 0);
    for fault in all.step_by(if in_full() { 1 } else { one_in }) {
        let at = format!("{fault:?}");
        let rule = control.rule(fault);
        match job(&settings) {
            Ok(found) => assert_eq!(found, known, "{at}"),
            Err(_) => failed += 1,
        }
        control.remove(rule);
        done += 1;
        let began_over_another = control.complaints().into_iter().find(|complaint| complaint.contains("still active"));
        assert_eq!(began_over_another, None, "{at}");
    }
    println!("{done} faults, {failed} times it failed");
    assert!(0 < failed && failed < done, "{failed} of {done}");
}

#[test]
fn nothing_that_passes_is_taken_for_a_lack() {
    meets_faults(7, |settings| Ok(probe(settings)?.features));
}

#[test]
fn nothing_that_passes_is_taken_for_a_proof_that_the_wrapping_key_is_safe() {
    let count = AtomicU32::new(0);
    meets_faults(4, |settings| {
        let wrapping_key_label = format!("wrapping key {}", count.fetch_add(1, Ordering::Relaxed));
        let report = init_wrapping_key(&Settings { wrapping_key_label, ..settings.clone() })?;
        Ok((report.created, report.leaves))
    });
}
