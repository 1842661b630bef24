//! ML-KEM with the public half of a key pair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::Material;

use super::{Encapsulated, Needs, Perform, RunContext};

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

    fn run(&self, context: &RunContext<'_>) -> Result<Encapsulated, HsmError> {
        context.calls.encapsulate(self.material.spec, context.key()?)
    }
}
