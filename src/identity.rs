//! Identities: the caller of a request, the user of this machine who runs a command, and the asker that a fair queue knows.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::principal::Principal;

/// The caller of one request, whose signature was verified. Made only by `authn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The principal that owns the access key.
    pub principal: Principal,
    /// The id of the access key that signed.
    pub access_key_id: String,
}

/// The user of this machine who runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsUser {
    /// The user id that the command runs under.
    pub user_id: u32,
    /// Its name, if the system has one for it.
    pub user_name: Option<String>,
    /// The name of the user who became that user by sudo.
    pub sudo_user: Option<String>,
    /// The user id of the login session (audit UID), which su and sudo do not change; `None` outside of one.
    pub login_user_id: Option<u32>,
}

/// A caller, as far as a fair queue needs to tell callers apart: a hash of the caller's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker(u64);

impl Asker {
    /// The service itself.
    pub const SERVICE: Self = Self(0);

    /// The caller of this name.
    pub fn named(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish().max(1))
    }
}
