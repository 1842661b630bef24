//! The vectors of Wycheproof: what is right is accepted, and what is nearly right is refused.
//!
//! What a request of KMS can say goes through the API, with the vector's own key imported as a user imports his (`secrets`);
//! the rest through the commands that the service gives its HSM (`signatures`, `engine`).
//!
//! Of those whose secret must be imported some are tried; `STRONGROOM_ALL=1` tries all.
//!
//! The counts are printed whether or not a test fails. Those expected are of the version of the vectors in `Cargo.lock`.

mod engine;
mod secrets;
mod signatures;
mod tally;

/// Whether everything is to be run in full.
fn in_full() -> bool {
    std::env::var_os("STRONGROOM_ALL").is_some()
}
