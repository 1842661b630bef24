//! The verification of HMACs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::MacAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};

/// Compares with the HMAC that [`Mac`](super::Mac) makes. The error is `Rejected` if it is another.
#[derive(Clone, Serialize, Deserialize)]
pub struct VerifyMac {
    /// The HMAC key.
    pub material: Arc<Material>,
    /// Which HMAC.
    pub algorithm: MacAlgorithm,
    /// The message.
    pub input: SecretBytes,
    /// The MAC.
    #[serde(with = "bytes")]
    pub mac: Vec<u8>,
}

impl Perform for VerifyMac {
    type Answer = ();

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<(), HsmError> {
        context.calls.verify_mac(self.algorithm, context.key()?, self.input.expose(), &self.mac)
    }
}
