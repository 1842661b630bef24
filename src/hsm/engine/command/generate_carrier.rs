//! The key pairs under which material comes.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::Material;
use crate::key::spec::{KeySpec, KeyUsage};

use super::run_context::UNNAMED;
use super::{Lane, Perform, Place, RunContext};
use crate::hsm::engine::calls::generating::NewMaterial;

/// Makes the RSA key pair under whose public half material comes that is to be imported. Wrapped as it is, anybody may keep it.
#[derive(Clone, Serialize, Deserialize)]
pub struct GenerateCarrier {
    /// RSA, of what length.
    pub spec: KeySpec,
}

impl Perform for GenerateCarrier {
    type Answer = Material;

    fn lane(&self) -> Lane {
        Lane::Slow
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Material, HsmError> {
        let order =
            NewMaterial { id: UNNAMED, spec: self.spec, usage: KeyUsage::EncryptDecrypt, place: Place::Wrapped };
        context.calls.generate_carrier(order, &context.means()?)
    }
}
