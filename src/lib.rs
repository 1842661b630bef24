//! Strongroom.

pub mod action;
pub mod arn;
pub mod clock;
pub mod error;
pub mod key;
pub mod policy;
pub mod principal;
pub mod secret;
pub mod sigv4;
mod word;
