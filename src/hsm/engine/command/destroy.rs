//! The end of token objects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::material::{Keeping, Material};

use super::{Lane, Perform, RunContext};

/// Destroys a token object and sees that it is gone; also when there was nothing left to destroy, it is done. Of wrapped
/// material the HSM keeps nothing. It is for `Hsm::destroy` to make, which knows the members that may have the object.
#[derive(Clone, Serialize, Deserialize)]
pub struct Destroy {
    /// The material whose object is to go.
    pub(in crate::hsm) material: Arc<Material>,
}

impl Perform for Destroy {
    type Answer = ();

    fn material(&self) -> Option<&Arc<Material>> {
        Some(&self.material)
    }

    fn lane(&self) -> Lane {
        Lane::Writer
    }

    /// Destroyed only when a session that was opened afterwards, and is logged in, does not see it: there are modules that
    /// say CKR_OK and bring the object back.
    fn run(&self, context: &RunContext<'_>) -> Result<(), HsmError> {
        if let Keeping::Token { cka_id, .. } = &self.material.keeping {
            context.calls.destroy_stored(&self.material, cka_id)?;
            let fresh = (context.open)()?;
            let fresh = context.state.calls(&fresh);
            fresh.see_gone(&self.material, cka_id)?;
            fresh.is_logged_in()?;
        }
        Ok(())
    }
}
