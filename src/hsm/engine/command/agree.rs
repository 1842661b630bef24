//! ECDH.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::key::bytes;
use crate::key::material::Material;
use crate::secret::SecretBytes;

use super::{Needs, Perform, RunContext};
use crate::hsm::engine::calls::public_key::point_of;

/// Agrees on a secret by ECDH without a key derivation function. The error is `Rejected` if the other key is no point of the
/// curve.
#[derive(Clone, Serialize, Deserialize)]
pub struct Agree {
    /// The key pair.
    pub material: Arc<Material>,
    /// The other's public key, as DER SubjectPublicKeyInfo.
    #[serde(with = "bytes")]
    pub public_key: Vec<u8>,
}

impl Perform for Agree {
    type Answer = SecretBytes;

    const JUDGES_DATA: bool = true;

    fn needs(&self) -> Needs<'_> {
        Needs::SecretHalf(&self.material)
    }

    fn run(&self, context: &RunContext<'_>) -> Result<SecretBytes, HsmError> {
        let not_on_it = || HsmError::new(Kind::Rejected, "agree", "it is no public key of the curve");
        let curve = self.material.spec.curve().ok_or_else(not_on_it)?;
        let point = point_of(curve, &self.public_key).ok_or_else(not_on_it)?;
        context.twice(|| context.calls.agree(curve, context.key()?, &point))
    }
}
