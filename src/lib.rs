//! Strongroom.

pub mod hsm;
pub mod key;
pub mod secret;
