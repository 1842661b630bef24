//! `hsm probe`: what an HSM can do.

use serde::{Deserialize, Serialize};

use crate::hsm::engine::probe::probe;
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::CarryOut;

/// Tries what the HSM can do.
#[derive(Serialize, Deserialize)]
pub struct Probe;

impl CarryOut for Probe {
    type Answer = Profile;

    fn run(self, settings: &Settings) -> Result<Profile, HsmError> {
        probe(settings)
    }
}
