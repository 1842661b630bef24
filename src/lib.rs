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
pub mod policy;
pub mod principal;
pub mod secret;
pub mod sigv4;
pub mod store;
mod word;
