//! Material that others have made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::WrappingAlgorithm;
use crate::key::bytes;
use crate::key::material::Material;
use crate::key::spec::{KeySpec, KeyUsage};

use super::attempt::UNNAMED;
use super::{Attempt, Imported, Lane, Perform, Place};
use crate::hsm::engine::calls::generating::Order;
use crate::hsm::engine::calls::importing::Parcel;

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
    /// What kind of key it is to be.
    pub spec: KeySpec,
    /// What it is for.
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

    fn run(&self, attempt: &Attempt<'_>) -> Result<Imported, HsmError> {
        let order = Order { id: UNNAMED, spec: self.spec, usage: self.usage, place: self.place };
        let parcel = Parcel { carrier: &self.carrier, algorithm: self.algorithm, blob: &self.blob };
        attempt.line.import(order, &parcel, &attempt.means()?)
    }

    fn note_member(imported: &mut Imported, member: &str) {
        imported.material.note_member(member);
    }
}
