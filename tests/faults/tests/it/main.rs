//! The module for faults in front of SoftHSM2: it changes nothing until it is told to, and does what it is told.
//!
//! `SOFTHSM2_CONF` must name a configuration; each test has a token and a copy of the module of its own.

#![deny(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::macro_metavars_in_unsafe, reason = "`call!` is for calls of C functions, with what these want")]

mod checks;
mod console;
mod forked;
mod identity;
mod interfaces;
mod locked;
mod p11;
mod processes;
mod rules;
mod token;
mod world;
