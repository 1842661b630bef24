//! Everything that is tested from the outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod algorithms;
mod architecture;
mod attestation;
mod attester;
mod clock;
mod configuration;
mod every_operation;
mod expiry;
mod faults;
mod fuzz;
mod grants;
mod hsm;
mod key_stores;
mod oaep;
mod operations;
mod operator;
mod own_materials;
mod properties;
mod races;
mod readiness;
mod records;
mod seed;
mod skip;
mod spoils;
mod states;
mod structures;
mod table;
mod tokens;
mod upkeep;
mod vectors;
mod world;
mod year;
