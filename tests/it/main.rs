//! Everything that is tested from the outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod algorithms;
mod architecture;
mod attester;
mod engine;
mod expiry;
mod faults;
mod fuzz;
mod hsm;
mod key_stores;
mod oaep;
mod operations;
mod own_materials;
mod service;
mod skip;
mod structures;
mod table;
mod tokens;
mod upkeep;
mod vectors;
mod world;
