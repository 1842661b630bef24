//! Strongroom.

pub mod access;
pub mod action;
pub mod arn;
pub mod clock;
pub mod envelope;
pub mod error;
pub mod identity;
pub mod key;
pub mod page;
pub mod policy;
pub mod principal;
pub mod secret;
pub mod sigv4;
mod word;
