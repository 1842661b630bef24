//! Signatures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::SigningAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;

use super::{Needs, Perform, RunContext};
use crate::hsm::engine::calls::proof;
use crate::hsm::engine::leases::Lease;

/// Signs; the signature is encoded as AWS does.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sign {
    /// The key pair.
    pub material: Arc<Material>,
    /// How.
    pub algorithm: SigningAlgorithm,
    /// The message, as [`SigningAlgorithm::input`] prepares it.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
}

impl Perform for Sign {
    type Answer = Vec<u8>;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Vec<u8>, HsmError> {
        let Lease { handle, believed, .. } = context.lease()?;
        let calls = context.calls;
        let spec = self.material.spec;
        let algorithm = self.algorithm;
        if !context.state.profile.signs(algorithm) {
            let text = format!("this HSM does not do {algorithm}");
            return Err(HsmError::new(Kind::Unsupported, "sign", text));
        }
        let signature = calls.sign(spec, algorithm, *handle, &self.input)?;
        believed.or_prove(|| {
            let public = calls.put_public(&self.material)?;
            proof::accepted(calls.verify(spec, algorithm, public.handle, &self.input, &signature))
        })?;
        Ok(signature)
    }
}
