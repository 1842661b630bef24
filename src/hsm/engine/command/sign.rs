//! Signatures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::SigningAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;

use super::{Attempt, Needs, Perform};
use crate::hsm::engine::calls::proof;
use crate::hsm::engine::handles::lease::Lease;

/// Signs; the signature is encoded as AWS does.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sign {
    /// The key pair.
    pub material: Arc<Material>,
    /// How.
    pub algorithm: SigningAlgorithm,
    /// What [`SigningAlgorithm::input`] gives of the message.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
}

impl Perform for Sign {
    type Answer = Vec<u8>;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, attempt: &Attempt<'_>) -> Result<Vec<u8>, HsmError> {
        let Lease { handle, believed, .. } = attempt.lease()?;
        let (line, spec, algorithm) = (attempt.line, self.material.spec, self.algorithm);
        if !attempt.state.profile.signs(algorithm) {
            let text = format!("this HSM does not do {algorithm}");
            return Err(HsmError::new(Kind::Unsupported, "sign", text));
        }
        let signature = line.sign(spec, algorithm, *handle, &self.input)?;
        believed.or_prove(|| {
            let public = line.put_public(&self.material)?;
            proof::accepted(line.verify(spec, algorithm, public.handle, &self.input, &signature))
        })?;
        Ok(signature)
    }
}
