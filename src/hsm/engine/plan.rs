//! What a command needs of the engine: a handle, a lane.

use std::sync::Arc;

use crate::hsm::command::{Command, Place};
use crate::key::material::{Keeping, Material, MaterialId};

use super::handles::{Half, HandleId};
use crate::fair_queue::CostClass;

/// Which threads do a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Any worker.
    Work,
    /// The one thread for calls that take seconds, so that they cannot hold up the others.
    Slow,
    /// The one thread that creates and destroys token objects. Several at a time fail on SoftHSM2.
    Writer,
}

impl Command {
    /// The handle that the command needs, and the material it is a handle of.
    pub(super) fn needs(&self) -> Option<(HandleId, &Arc<Material>)> {
        let (half, material) = match self {
            Self::Seal { material, .. } | Self::SealRandom { material, .. } => (Half::Secret, material),
            Self::Open { material, .. } | Self::Decrypt { material, .. } => (Half::Secret, material),
            Self::Sign { material, .. } | Self::Mac { material, .. } | Self::VerifyMac { material, .. } => {
                (Half::Secret, material)
            }
            Self::Agree { material, .. } | Self::Decapsulate { material, .. } => (Half::Secret, material),
            Self::Encrypt { material, .. } | Self::Verify { material, .. } => (Half::Public, material),
            Self::Encapsulate { material } => (Half::Public, material),
            Self::EncryptFor { .. } | Self::Random { .. } => return None,
            Self::Generate { .. } | Self::GeneratePair { .. } => return None,
            Self::GenerateCarrier { .. } | Self::Import { .. } => return None,
            Self::Destroy { .. } | Self::Renew | Self::Check => return None,
        };
        Some((HandleId { material: material.id, half }, material))
    }

    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Generate { place: Place::Token { .. }, .. } | Self::Destroy { .. } => Lane::Writer,
            Self::Import { place: Place::Token { .. }, .. } => Lane::Writer,
            Self::GenerateCarrier { .. } => Lane::Slow,
            Self::Generate { spec, .. } | Self::GeneratePair { spec } if spec.modulus_bits().is_some() => Lane::Slow,
            _ => Lane::Work,
        }
    }

    /// How long it may be expected to take: give or take some random bytes, a command that is AES is one call.
    pub(super) fn class(&self) -> CostClass {
        match self {
            Self::Seal { .. } | Self::SealRandom { .. } | Self::Open { .. } => CostClass::Aes,
            _ => CostClass::Other,
        }
    }

    /// Whether the HSM judges the caller's data, so that a refusal may be the data's fault.
    pub(super) fn judges_data(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::Decrypt { .. }
                | Self::Verify { .. }
                | Self::Agree { .. }
                | Self::Decapsulate { .. }
                | Self::Import { .. }
        )
    }

    /// Destroying wrapped material concerns only the handle cache: the HSM keeps nothing of it.
    pub(super) fn only_forgets(&self) -> Option<MaterialId> {
        match self {
            Self::Destroy { material } if matches!(material.keeping, Keeping::Wrapped { .. }) => Some(material.id),
            _ => None,
        }
    }
}
