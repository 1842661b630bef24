//! What is the service's own and the same on every HSM: `scripts/test` tries it on one, and on the others with
//! `STRONGROOM_ALL=1`.

mod attestation;
mod clock;
mod configuration;
mod every_operation;
pub mod grants;
mod operator;
mod properties;
mod races;
mod readiness;
mod records;
mod seed;
mod spoils;
mod states;
mod year;
