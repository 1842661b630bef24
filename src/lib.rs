//! Strongroom.

pub mod action;
pub mod arn;
pub mod clock;
pub mod envelope;
pub mod error;
pub mod identity;
pub mod key;
pub mod page;
pub mod principal;
pub mod secret;
mod word;
