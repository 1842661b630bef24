//! Several processes, one after the other: what is planned holds for all, and what they did is known when they are gone.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use cryptoki_sys::*;
use strongroom_faults::control::{Controller, World, install};
use strongroom_faults::rule::{Crash, Rule};

use crate::call;
use crate::p11::P11;
use crate::token::{Bench, PIN, alone, by_label, softhsm};

const SOON: Duration = Duration::from_secs(5);

/// What a child does; the code that it got is its exit status.
#[test]
fn child() {
    let Ok(what) = std::env::var("FAULTS_CHILD") else { return };
    let p11 = P11::load(std::env::var("FAULTS_MODULE").unwrap().as_ref());
    let session = p11.open(by_label(&p11, &std::env::var("FAULTS_TOKEN").unwrap())).unwrap();
    let code = match what.as_str() {
        "random" => p11.random(session, 4).err().unwrap_or(CKR_OK),
        "wrong pin" => p11.login(session, "wrong"),
        "finalize" => {
            assert_eq!(call!(p11, C_Finalize(std::ptr::null_mut())), CKR_OK);
            p11.random(session, 4).unwrap_err() - CKR_CRYPTOKI_NOT_INITIALIZED
        }
        _ => panic!("{what}"),
    };
    std::process::exit(code as i32);
}

fn command(bench: &Bench, what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::child", "--nocapture"]);
    command.env("FAULTS_CHILD", what).env("FAULTS_MODULE", &bench.module).env("FAULTS_TOKEN", &bench.label);
    command
}

pub fn run(bench: &Bench, what: &str) -> ExitStatus {
    let output = command(bench, what).output().unwrap();
    if output.status.code() == Some(101) {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status
}

#[test]
fn a_new_process_has_the_plan_before_its_first_call() {
    let bench = Bench::new();
    assert_eq!(run(&bench, "random").code(), Some(0));
    let rule = bench.control.rule(Rule::on("C_GenerateRandom").answer(5));
    assert_eq!(run(&bench, "random").code(), Some(5));
    assert_eq!(bench.control.hits(rule), 1);
    bench.control.clear();
    bench.control.world(World::Vanish { code: CKR_DEVICE_REMOVED });
    assert_ne!(run(&bench, "random").code(), Some(0));
}

#[test]
fn crashes_are_real_and_leave_a_trace() {
    for (crash, code, signal) in [
        (Crash::Segv, None, Some(libc_signal::SEGV)),
        (Crash::Abort, None, Some(libc_signal::ABRT)),
        (Crash::Exit(7), Some(7), None),
    ] {
        let bench = Bench::new();
        let rule = bench.control.rule(Rule::on("C_GenerateRandom").once().crash(crash));
        let status = run(&bench, "random");
        assert_eq!((status.code(), status.signal()), (code, signal), "{crash:?}");
        assert!(bench.control.wait_instances(1, SOON));
        assert_eq!(bench.control.hits(rule), 1);
        let last = bench.control.calls().pop().unwrap();
        assert_eq!((last.function.as_str(), last.outcome), ("C_GenerateRandom", None));
        let trace = std::fs::read_to_string(bench.dir.path().join(format!("trace-{}", last.pid))).unwrap();
        assert!(trace.contains("C_OpenSession") && trace.contains("C_GenerateRandom"), "{trace}");

        // Once is once: the one that comes back does not crash again.
        assert_eq!(run(&bench, "random").code(), Some(0));
    }
}

mod libc_signal {
    pub const SEGV: i32 = 11;
    pub const ABRT: i32 = 6;
}

#[test]
fn instances_come_and_go() {
    let bench = Bench::new();
    assert_eq!(bench.control.instances(), [std::process::id()]);
    let rule = bench.control.rule(Rule::on("C_GenerateRandom").stop());
    let mut child = command(&bench, "random").stdout(std::process::Stdio::null()).spawn().unwrap();
    assert!(bench.control.wait_stopped(rule, SOON));
    assert_eq!(bench.control.instances(), [std::process::id(), child.id()]);
    assert_eq!(bench.control.open_sessions(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bench.control.wait_instances(1, SOON));
}

#[test]
fn wrong_pins_are_counted_over_processes() {
    let bench = Bench::new();
    bench.control.world(World::LockPinAfter { tries: 2 });
    for _ in 0..2 {
        assert_eq!(run(&bench, "wrong pin").code(), Some(CKR_PIN_INCORRECT as i32));
    }
    let session = bench.open();
    assert_eq!(bench.p11.login(session, PIN), CKR_PIN_LOCKED);
    let wrong = bench.control.logins().into_iter().find(|login| login.attempts == 2).unwrap();
    assert_eq!(wrong.outcomes.len(), 1);
    assert_eq!(bench.control.complaints(), ["C_Login: again with a PIN that has been refused"]);
}

#[test]
fn use_after_finalize() {
    let bench = Bench::new();
    assert_eq!(run(&bench, "finalize").code(), Some(0));
    assert_eq!(bench.control.complaints(), ["C_GenerateRandom: called after C_Finalize"]);
}

#[test]
fn a_controller_that_comes_later_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let p11 = alone(dir.path());
    let control = Controller::new(dir.path()).unwrap();
    assert!(control.wait_instances(1, SOON));
    control.rule(Rule::on("C_GetInfo").answer(5));
    assert_eq!(call!(p11, C_GetInfo(&mut CK_INFO::default())), 5);
}

#[test]
fn the_environment_names_the_directory_and_the_real_module() {
    let mut bench = Bench::new();
    let elsewhere = tempfile::tempdir().unwrap();
    bench.module = install(elsewhere.path(), &bench.module, "/nonexistent".as_ref()).unwrap();
    bench.control.rule(Rule::on("C_GenerateRandom").answer(5));
    let mut command = command(&bench, "random");
    command.env("STRONGROOM_FAULTS_DIR", bench.dir.path()).env("STRONGROOM_FAULTS_REAL", softhsm());
    assert_eq!(command.output().unwrap().status.code(), Some(5));
}
