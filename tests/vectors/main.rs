//! The vectors of Wycheproof, through the commands that the service gives its HSM: what is right is accepted, and what is
//! nearly right is refused.
//!
//! A vector of signatures needs a public key only, which is in what the service keeps of a key; no private key is ever asked
//! for. What needs a secret of the vector's own imports it first, which tries the import as well.
//!
//! The counts are printed whether or not a test fails. Those expected are of the version of the vectors in `Cargo.lock`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod import;
mod secrets;
mod signatures;
mod tally;
#[path = "../it/tokens.rs"]
mod tokens;

use std::sync::OnceLock;

use strongroom::hsm::Hsm;

/// The HSM of all tests.
fn hsm() -> &'static Hsm {
    static HSM: OnceLock<Hsm> = OnceLock::new();
    HSM.get_or_init(|| Hsm::start(tokens::token()).unwrap())
}
