//! Material that others have made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::WrappingAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;
use crate::key::spec::{KeySpec, KeyUsage};

use super::run_context::UNNAMED;
use super::{Imported, Lane, Perform, Place, RunContext};
use crate::hsm::engine::calls::generating::NewMaterial;
use crate::hsm::engine::calls::importing::EncryptedMaterial;

/// Takes in material that others have made. The error is `Rejected` if it does not unwrap, `Unfit` if it is not of the spec.
#[derive(Clone, Serialize, Deserialize)]
pub struct Import {
    /// The pair that [`GenerateCarrier`](super::GenerateCarrier) made.
    pub carrier: Arc<Material>,
    /// How the material is encrypted.
    pub algorithm: WrappingAlgorithm,
    /// The encrypted material.
    #[serde(with = "bytes")]
    pub blob: Vec<u8>,
    /// The key spec it is to have.
    pub spec: KeySpec,
    /// The key usage.
    pub usage: KeyUsage,
    /// Where it is to be kept.
    pub place: Place,
}

impl Perform for Import {
    type Answer = Imported;

    const JUDGES_DATA: bool = true;

    fn material(&self) -> Option<&Arc<Material>> {
        Some(&self.carrier)
    }

    fn lane(&self) -> Lane {
        match self.place {
            Place::Token { .. } => Lane::Writer,
            Place::Wrapped => Lane::Work,
        }
    }

    fn is_repeatable(&self) -> bool {
        self.place == Place::Wrapped
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Imported, HsmError> {
        let order = NewMaterial { id: UNNAMED, spec: self.spec, usage: self.usage, place: self.place };
        let parcel = EncryptedMaterial { carrier: &self.carrier, algorithm: self.algorithm, blob: &self.blob };
        context.calls.import(order, &parcel, &context.means()?)
    }

    fn note_member(imported: &mut Imported, member: &str) {
        imported.material.note_member(member);
    }
}
