//! PKCS#11 calls on one session: mechanisms, templates, and what is done with keys.

pub(in crate::hsm) mod agreement;
pub(in crate::hsm) mod data_key_pairs;
pub(in crate::hsm) mod generating;
pub(in crate::hsm) mod importing;
pub(in crate::hsm) mod mechanism;
pub(in crate::hsm) mod oaep;
pub(in crate::hsm) mod objects;
pub(in crate::hsm) mod pairwise;
pub(in crate::hsm) mod proof;
pub(in crate::hsm) mod public_key;
pub(in crate::hsm) mod raw;
pub(in crate::hsm) mod session_calls;
pub(in crate::hsm) mod signing;
pub(in crate::hsm) mod templates;
pub(in crate::hsm) mod wrapping;
