//! The console: what an operator types happens, and what callers do wrong is printed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use strongroom_faults::console::{HELP, Reply, obey};

use crate::rules::until;
use crate::token::{Bench, alone};

#[test]
fn lines_are_obeyed() {
    let bench = Bench::new();
    let session = bench.open();
    let say = |line: &str| match obey(&bench.control, line) {
        Reply::Text(text) => text,
        Reply::Quit => "quit".to_owned(),
    };
    let rule = say("rule C_GenerateRandom answer CKR_DEVICE_ERROR");
    assert_eq!(bench.p11.random(session, 4), Err(0x30));
    assert_eq!(say(&rule.replace("rule", "hits")), "1");
    assert!(say("calls 1").contains("C_GenerateRandom") && say("calls 1").contains("CKR_DEVICE_ERROR"));
    assert_eq!(say(&rule.replace("rule", "remove")), "done");
    assert!(bench.p11.random(session, 4).is_ok());
    assert_eq!(say("world vanish CKR_DEVICE_REMOVED"), "done");
    assert_eq!(bench.p11.random(session, 4), Err(0x32));
    assert_eq!((say("sessions").as_str(), say("help").as_str()), ("0 sessions, 0 active operations", HELP));
    assert_eq!((say("explode").as_str(), say("quit").as_str()), ("not understood: explode", "quit"));
}

#[test]
fn the_program_prints_complaints_and_ends_in_calm() {
    let dir = tempfile::tempdir().unwrap();
    let p11 = alone(dir.path());
    let mut program = Command::new(env!("CARGO_BIN_EXE_strongroom-faults"));
    let mut program = program.arg(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    writeln!(input, "rule C_GenerateRandom answer CKR_DEVICE_ERROR").unwrap();
    until(|| p11.random(0, 4) == Err(0x30));
    let slot = crate::token::new_token().0;
    let session = p11.open(slot).unwrap();
    p11.close(session);
    assert!(p11.random(session, 4).is_err());
    assert!(output.any(|line| line == "complaint: C_GenerateRandom: its session has been closed"));
    drop(input);
    assert!(program.wait().unwrap().success());
    std::thread::sleep(Duration::from_millis(50));
    assert_ne!(p11.random(0, 4), Err(0x30));
}
