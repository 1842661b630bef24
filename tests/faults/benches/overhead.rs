//! What the module costs a call that it leaves alone: `cargo bench -p strongroom-faults`. It is meant to be less than 2 µs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what panics has failed")]
#![allow(dead_code, reason = "the helpers of the tests, which need more of them")]
#![allow(clippy::macro_metavars_in_unsafe, reason = "`call!` is for calls of C functions, with what these want")]

#[path = "../tests/it/p11.rs"]
mod p11;
#[path = "../tests/it/token.rs"]
mod token;

use std::cell::Cell;
use std::time::{Duration, Instant};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::p11::{P11, aes};
use crate::token::{Bench, PIN, softhsm};

const CALLS: u32 = 100_000;
const ROUNDS: usize = 5;

fn main() {
    let bench = Bench::new();
    let through = Side::new(&bench.p11, &bench);
    let bare = P11::load(&softhsm());
    let bare = Side::new(&bare, &bench);
    difference("C_GenerateRandom of 32 bytes", 1, || bare.random(), || through.random());
    difference("C_EncryptInit and C_Encrypt, GCM", 2, || bare.encrypt(), || through.encrypt());
}

struct Side<'a> {
    p11: &'a P11,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    ivs: Cell<u64>,
}

impl<'a> Side<'a> {
    fn new(p11: &'a P11, bench: &Bench) -> Self {
        let session = p11.open(bench.slot).unwrap();
        p11.login(session, PIN);
        Self { p11, session, key: p11.generate(session, &aes()).unwrap(), ivs: Cell::new(0) }
    }

    fn random(&self) -> Duration {
        let begun = Instant::now();
        for _ in 0..CALLS {
            self.p11.random(self.session, 32).unwrap();
        }
        begun.elapsed()
    }

    fn encrypt(&self) -> Duration {
        let begun = Instant::now();
        for _ in 0..CALLS {
            // A complaint about an IV that comes again would be measured too.
            let mut iv = [0; 12];
            iv[..8].copy_from_slice(&self.ivs.replace(self.ivs.get() + 1).to_ne_bytes());
            self.p11.encrypt(self.session, self.key, &iv, b"thirty-two bytes of data, or so.").unwrap();
        }
        begun.elapsed()
    }
}

/// The best round of each side: what else the machine does only makes a round slower.
fn difference(what: &str, calls: u32, bare: impl Fn() -> Duration, through: impl Fn() -> Duration) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (bare(), through())).collect();
    let bare = rounds.iter().map(|round| round.0).min().unwrap() / CALLS;
    let through = rounds.iter().map(|round| round.1).min().unwrap() / CALLS;
    let more = through.saturating_sub(bare) / calls;
    println!("{what}: bare {bare:?}, through the module {through:?}, {more:?} more for each call");
}
