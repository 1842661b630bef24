//! Everything that is tested from the outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod faults;
mod hsm;
mod softhsm;
