//! Who is calling, once the signature has proved it.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::principal::Principal;

/// The caller of one request. Made only by `authn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The principal that owns the access key.
    pub principal: Principal,
    /// The id of the access key that signed.
    pub access_key_id: String,
}

/// Whoever runs a command on this machine, as the system knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user id that the command runs under.
    pub user_id: u32,
    /// Its name, if the system has one for it.
    pub user_name: Option<String>,
    /// Who became that user by sudo.
    pub sudo_user: Option<String>,
    /// The user id that logged in, whoever they became since; none where nobody did.
    pub login_user_id: Option<u32>,
}

/// For whom something is done, as far as fairness needs to know: a number made of the caller's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
