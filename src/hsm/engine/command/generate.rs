//! New key material.

use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::key::material::{Material, MaterialId};
use crate::key::spec::{KeySpec, KeyUsage};

use super::{Lane, Perform, Place, RunContext};
use crate::hsm::engine::calls::generating::NewMaterial;

/// Makes new key material, and answers only after it has been seen to work.
#[derive(Clone, Serialize, Deserialize)]
pub struct Generate {
    /// The name the material is to have.
    pub id: MaterialId,
    /// The key spec.
    pub spec: KeySpec,
    /// The key usage.
    pub usage: KeyUsage,
    /// Where it is to be kept.
    pub place: Place,
}

impl Perform for Generate {
    type Answer = Material;

    fn lane(&self) -> Lane {
        match self.place {
            Place::Token { .. } => Lane::Writer,
            Place::Wrapped if self.spec.modulus_bits().is_some() => Lane::Slow,
            Place::Wrapped => Lane::Work,
        }
    }

    fn is_repeatable(&self) -> bool {
        self.place == Place::Wrapped
    }

    fn run(&self, context: &RunContext<'_>) -> Result<Material, HsmError> {
        let Self { id, spec, usage, place } = *self;
        let made = context.calls.generate(NewMaterial { id, spec, usage, place }, &context.means()?);
        if made.as_ref().is_err_and(|error| error.kind == Kind::NoWrappingKey) {
            context.state.forget_wrapping_key();
        }
        made
    }

    fn note_member(material: &mut Material, member: &str) {
        material.note_member(member);
    }
}
