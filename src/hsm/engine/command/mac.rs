//! HMAC.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::MacAlgorithm;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};

/// Makes the HMAC of a message.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mac {
    /// The HMAC key.
    pub material: Arc<Material>,
    /// Which HMAC.
    pub algorithm: MacAlgorithm,
    /// The message.
    pub input: SecretBytes,
}

impl Perform for Mac {
    type Answer = Vec<u8>;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Vec<u8>, HsmError> {
        let mac = || context.calls.mac(self.algorithm, context.key()?, self.input.expose()).map(SecretBytes::from);
        Ok(context.twice(mac)?.expose().to_vec())
    }
}
