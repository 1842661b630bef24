//! Does the un-padding of RSA-OAEP branch on, or index with, what only the HSM and we may know?
//!
//! Valgrind's memcheck follows undefined bits through every instruction and reports a branch or an address that depends on
//! one. So the encoded message is declared undefined, and what memcheck reports of `oaep.rs` is a leak: Adam Langley's
//! ctgrind. It sees the machine code that this compiler made at the optimisation level that is shipped, and of SHA-256 the
//! portable code, because valgrind has no SHA instructions; those have no branches to see.
//!
//! `constant-time unpad` fails if anything is reported. `constant-time controls` runs un-padders that leak and fails if one
//! of them is not reported. Both want valgrind around them: run `scripts/constant-time`.

#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/hsm/engine/oaep.rs"]
mod oaep;
#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/secret.rs"]
mod secret;
mod valgrind;

use std::hint::black_box;
use std::process::ExitCode;

use sha2::{Digest, Sha256};

const HASH: usize = 32;
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

/// An encoded message, and what its un-padding must give.
struct Case {
    name: &'static str,
    encoded: Vec<u8>,
    message: Option<Vec<u8>>,
}

/// Every way to be right and to be wrong (RFC 8017 section 7.1.2, step 3g).
fn cases(k: usize) -> Vec<Case> {
    let room = k - 2 * HASH - 1;
    let label_hash: [u8; HASH] = Sha256::digest([]).into();
    let mut other_label = label_hash;
    other_label[31] ^= 1;
    let seed = [7; HASH];

    // Zeros, and the bytes of `set` at their places.
    let padded = |set: &[(usize, u8)]| {
        let mut bytes = vec![0u8; room];
        set.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        bytes
    };
    let case = |name, leading: u8, label_hash: [u8; HASH], padded: Vec<u8>, message: Option<Vec<u8>>| {
        let mut encoded = [&[leading][..], &seed, &label_hash, &padded].concat();
        oaep::conceal(&mut encoded).expect("k is long enough");
        Case { name, encoded, message }
    };
    let right = |name, at: usize| {
        let mut bytes = padded(&[(at, 1)]);
        let message: Vec<u8> = (0u8..=255).cycle().take(room - at - 1).collect();
        bytes[at + 1..].copy_from_slice(&message);
        case(name, 0, label_hash, bytes, Some(message))
    };
    let wrong = |name, leading, label_hash, set: &[(usize, u8)]| case(name, leading, label_hash, padded(set), None);
    vec![
        right("valid, no message", room - 1),
        right("valid", room / 2),
        right("valid, longest message", 0),
        wrong("leading byte", 1, label_hash, &[(100, 1)]),
        wrong("label hash", 0, other_label, &[(100, 1)]),
        wrong("no separator", 0, label_hash, &[]),
        wrong("another byte for the separator", 0, label_hash, &[(100, 2)]),
        wrong("another byte before it", 0, label_hash, &[(99, 2), (100, 1)]),
        wrong("another byte at the front", 0, label_hash, &[(0, 2), (100, 1)]),
        wrong("all at once", 9, other_label, &[(0, 9)]),
    ]
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

/// An un-padder that leaks. What it answers is looked at by nobody, so only the leak can be reported.
type Leaky = fn(&mut [u8]) -> usize;

/// Each of these must be reported.
fn controls() -> bool {
    let leaky: [(&str, Leaky); 3] =
        [("returns early", returns_early), ("stops at the separator", stops_at_separator), ("looks up", looks_up)];
    let mut passed = true;
    for (name, leaky) in leaky {
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

/// Manger's oracle as it is usually written: the rest is not done if the first byte is not zero.
fn returns_early(encoded: &mut [u8]) -> usize {
    if encoded[0] != 0 {
        return 0;
    }
    oaep::reveal(encoded);
    usize::from(encoded[1])
}

/// The time tells where the message begins.
fn stops_at_separator(encoded: &mut [u8]) -> usize {
    oaep::reveal(encoded);
    encoded[1 + 2 * HASH..].iter().position(|byte| *byte != 0).unwrap_or(0)
}

/// No branch, but the cache tells which line of the table was read.
fn looks_up(encoded: &mut [u8]) -> usize {
    let table: [usize; 256] = black_box(std::array::from_fn(|n| n * n));
    oaep::reveal(encoded);
    table[usize::from(encoded[1 + 2 * HASH])]
}
