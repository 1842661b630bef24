//! A PKCS#11 module that stands in front of a real one: it passes every call on, misbehaves when told to, and notes what its
//! caller does wrong. For tests and rehearsals, never for production.
//!
//! - [`control`] is for the one who tells it: a test, or the console `strongroom-faults` ([`console`]).
//! - [`rule`] and [`world`] say what can be told: a fault of one call, an event that befalls the whole HSM.
//! - [`function`] is the table of all functions; [`wire`] is what goes over the socket between controller and module.
//! - `module` is the module itself: `pipeline.rs` is the way of one call through it.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod code;
pub mod console;
pub mod control;
pub mod function;
mod module;
pub mod rule;
pub mod wire;
pub mod world;
