//! Drives the real program: `strongroom dev`, `strongroom serve` and the verbs, from the outside, as clients and
//! operators do. Every wait has a bound, and every process is ended by the test that started it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod answers;
mod audit;
mod bench;
mod bodies;
mod clients;
mod crash;
mod deletion;
mod descriptors;
mod effects;
#[path = "../it/exposed.rs"]
mod exposed;
mod hanging;
mod http;
mod imports;
mod join;
mod key_stores;
#[path = "../it/oaep.rs"]
mod oaep;
mod operators_path;
mod outage;
mod overload;
mod races;
mod readiness;
mod records;
mod reload;
mod sdk;
mod seats;
mod seed;
mod server;
mod signatures;
mod start;
mod stopping;
mod store;
mod supervision;
mod tls;
mod turns;
mod two_processes;
mod volume;
mod wire;
