//! The generations of a key's material: which is current, how each became so, and when the next one is due (AWS KMS: "Rotate
//! AWS KMS keys").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::material::MaterialId;
use crate::{
    aws_names::aws_enum,
    clock::{self, Running, Timestamp},
};

/// How often a key can be rotated on demand (AWS KMS: "Resource quotas").
pub const MOST_ON_DEMAND: usize = 25;

/// RotationPeriodInDays when it is not given.
pub const DEFAULT_PERIOD_DAYS: u32 = 365;

/// So near to an automatic rotation none is made on demand (AWS KMS: RotateKeyOnDemand).
const NEAR: Duration = Duration::from_secs(20 * 60);

aws_enum! {
    /// RotationType.
    RotationType {
        Automatic = "AUTOMATIC",
        OnDemand = "ON_DEMAND",
    }
}

aws_enum! {
    /// KeyMaterialState.
    MaterialState {
        NonCurrent = "NON_CURRENT",
        Current = "CURRENT",
        PendingRotation = "PENDING_ROTATION",
        PendingMultiRegionImportAndRotation = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
    }
}

/// What is known of one material of a key, whether the material is there now or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name. That of imported material is the same whenever it comes.
    pub id: MaterialId,
    /// How it became current; the first one was so from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// When imported material goes by itself; never, if there is no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// How long the deployment must have run by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after: Option<Running>,
    /// KeyMaterialDescription, of imported material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A rotation that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// When.
    pub date: Timestamp,
    /// At whose wish.
    pub kind: RotationType,
}

/// Automatic rotation, while it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// RotationPeriodInDays.
    pub period_days: u32,
    /// When it was switched on or last did its work.
    pub counted_from: Timestamp,
}

impl Generation {
    /// A material that nothing more is known of.
    pub fn of(id: MaterialId) -> Self {
        Self { id, rotation: None, valid_to: None, valid_after: None, description: None }
    }

    /// Whether its material may not be used any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.valid_to.is_some_and(|valid_to| valid_to <= now)
    }
}

impl Schedule {
    /// NextRotationDate.
    pub fn next(&self) -> Timestamp {
        self.counted_from.plus(clock::days(self.period_days.into()))
    }

    /// Whether the next rotation is so near that none is made on demand.
    pub fn is_near(&self, now: Timestamp) -> bool {
        self.next() <= now.plus(NEAR)
    }
}
