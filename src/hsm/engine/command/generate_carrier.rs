//! The key pairs under which material comes.

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::Material;
use crate::key::spec::{KeySpec, KeyUsage};

use super::attempt::UNNAMED;
use super::{Attempt, Lane, Perform, Place};
use crate::hsm::engine::calls::generating::Order;

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

    fn run(&self, attempt: &Attempt<'_>) -> Result<Material, HsmError> {
        let order = Order { id: UNNAMED, spec: self.spec, usage: KeyUsage::EncryptDecrypt, place: Place::Wrapped };
        attempt.line.generate_carrier(order, &attempt.means()?)
    }
}
