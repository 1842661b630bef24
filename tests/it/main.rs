//! Everything that is tested from the outside.

mod hsm;
mod softhsm;
