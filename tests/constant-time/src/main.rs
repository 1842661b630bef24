//! Does the un-padding of RSA-OAEP branch on, or index with, what only the HSM and we may know?
//!
//! Valgrind's memcheck follows undefined bits through every instruction and reports a branch or an address that depends on
//! one. So the encoded message is declared undefined, and what memcheck reports of `oaep.rs` is a leak: Adam Langley's
//! ctgrind. It sees the machine code that this compiler made at the optimisation level that is shipped, and of SHA-256 the
//! portable code, because valgrind has no SHA instructions; those have no branches to see.
//!
//! `constant-time unpad` fails if anything is reported. `constant-time controls` runs un-padders that leak and fails if one
//! of them is not reported. Both want valgrind around them: run `scripts/constant-time`.

mod cases;
#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/hsm/engine/calls/oaep.rs"]
mod oaep;
#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/secret.rs"]
mod secret;
mod valgrind;

use std::hint::black_box;
use std::process::ExitCode;

use cases::{Case, LEAKY, cases};

const MODULUS_BYTES: [usize; 3] = [256, 384, 512];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if !valgrind::is_running() {
        eprintln!("this says nothing without valgrind around it; use scripts/constant-time");
        return ExitCode::from(2);
    }
    let passed = match argument.as_deref() {
        Some("unpad") => unpad(),
        Some("controls") => controls(),
        _ => {
            eprintln!("usage: constant-time unpad|controls");
            return ExitCode::from(2);
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The un-padding as it is shipped must not be reported.
fn unpad() -> bool {
    let mut passed = true;
    for k in MODULUS_BYTES {
        for Case { name, encoded, message } in cases(k) {
            let before = valgrind::errors();
            valgrind::make_secret(&encoded[..]);
            let decoded = oaep::decode(&encoded, k).expect("the length is right");
            // If nothing secret comes out, nothing secret went in, and the silence says nothing.
            assert!(valgrind::is_secret(&decoded.valid), "{name}: the verdict does not depend on the secret");
            // The caller is told whether it succeeded, and the length of what did.
            valgrind::make_public(&decoded.valid);
            if bool::from(decoded.valid) {
                valgrind::make_public(&decoded.zeros);
            }
            let told = decoded.tell();
            let reports = valgrind::errors() - before;

            let told = told.map(|bytes| {
                valgrind::make_public(bytes.expose());
                bytes.expose().to_vec()
            });
            assert_eq!(told, message, "{name}: un-padded wrongly");
            println!("k = {k}, {name}: {reports} reports");
            passed &= reports == 0;
        }
    }
    passed
}

/// Each of these must be reported.
fn controls() -> bool {
    let mut passed = true;
    for (name, leaky) in LEAKY {
        for Case { name: case, encoded, .. } in cases(256).iter_mut() {
            let before = valgrind::errors();
            valgrind::make_secret(&encoded[..]);
            black_box(black_box(leaky)(encoded));
            let reports = valgrind::errors() - before;
            println!("control: {name}, {case}: {reports} reports");
            passed &= reports > 0;
        }
    }
    passed
}
