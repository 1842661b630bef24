//! The names of the handles that commands need.

use serde::{Deserialize, Serialize};

use crate::key::material::MaterialId;

/// The key that a handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::hsm) struct HandleId {
    pub(in crate::hsm) material: MaterialId,
    pub(in crate::hsm) half: Half,
}

/// The half of a key pair; a symmetric key has only the secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::hsm) enum Half {
    Secret,
    Public,
}
