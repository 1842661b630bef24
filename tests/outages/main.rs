//! What becomes of the service when its HSM fails, in every way that HSMs are known to fail: the module of `tests/faults`
//! stands between a worker process and SoftHSM2 and is told what to do.
//!
//! `STRONGROOM_ALL=1` runs everything in full; without it the long parts are cut to a few minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod corrupted_memory;
mod doubt;
mod events;
#[path = "../it/exposed.rs"]
mod exposed;
mod growth;
mod hangs;
mod load;
mod matrix;
mod members;
#[path = "../it/oaep.rs"]
mod oaep;
mod operations;
mod overload;
mod pins;
mod probing;
mod rig;
#[path = "../it/tokens.rs"]
mod tokens;
mod wrong_answers;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests take turns: what they say of times is said of a machine that does nothing else.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether everything is to be run in full.
fn in_full() -> bool {
    std::env::var_os("STRONGROOM_ALL").is_some()
}
