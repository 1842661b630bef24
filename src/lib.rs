//! Strongroom.

pub mod action;
pub mod arn;
pub mod audit;
pub mod clock;
pub mod envelope;
pub mod error;
pub mod identity;
pub mod key;
pub mod metrics;
pub mod page;
pub mod principal;
pub mod secret;
pub mod store;
mod word;
