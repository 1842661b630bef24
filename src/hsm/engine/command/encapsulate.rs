//! ML-KEM with the public half of a key pair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::Material;

use super::{Attempt, Encapsulated, Needs, Perform};

/// Makes a secret for the holder of the private half, by ML-KEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Encapsulate {
    /// The key pair.
    pub material: Arc<Material>,
}

impl Perform for Encapsulate {
    type Answer = Encapsulated;

    fn needs(&self) -> Needs<'_> {
        Needs::PublicHalf(&self.material)
    }

    fn run(&self, attempt: &Attempt<'_>) -> Result<Encapsulated, HsmError> {
        attempt.line.encapsulate(self.material.spec, attempt.key()?)
    }
}
