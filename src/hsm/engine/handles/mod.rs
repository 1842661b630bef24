//! Handles of the keys that are in use: the cache, and the leases of those who use them.

pub(in crate::hsm) mod anchor_request;
pub(in crate::hsm) mod cache;
pub(in crate::hsm) mod lease;
