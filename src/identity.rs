//! Who is calling, once the signature has proved it.

use crate::principal::Principal;

/// The caller of one request. Made only by `authn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The principal that owns the access key.
    pub principal: Principal,
    /// The id of the access key that signed.
    pub access_key_id: String,
}
