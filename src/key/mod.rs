//! What a KMS key is.

pub mod material;
pub mod spec;
