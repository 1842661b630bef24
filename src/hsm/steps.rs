//! One-shot jobs of a worker process: what an operator orders of one HSM, done in a process that then ends.
//!
//! So the module is never in the operator's process, finds the HSM's own `environment`, and no PIN is anywhere but in the
//! worker. A step is plain data and names PINs by their places.

use serde::{Deserialize, Serialize};

use super::engine::joining::{self, Invitation, Invited, Proof, Released};
use super::engine::{self, Profile, WrappingKeyReport};
use super::error::{HsmError, Kind};
use super::link::Launch;
use super::pin::PinSource;
use super::process;
use super::settings::Settings;

/// One job.
#[derive(Serialize, Deserialize)]
pub enum Step {
    /// Makes the token itself, for development. Answered by [`StepDone::Done`].
    InitToken {
        /// The security officer's PIN of the new token.
        so_pin: PinSource,
    },
    /// Looks whether the token is there, and can be used. Answered by [`StepDone::Seen`].
    See,
    /// Looks for the wrapping key. Answered by [`StepDone::Found`].
    Look,
    /// Makes the wrapping key, unless it is there. Answered by [`StepDone::Found`].
    Init {
        /// Whether it may never leave the HSM.
        sole: bool,
    },
    /// Tries what the HSM can do. Answered by [`StepDone::Probed`].
    Probe,
    /// Proves which wrapping key the HSM has. Answered by [`StepDone::Proved`].
    Prove,
    /// Makes a pair under which the wrapping key can come. Answered by [`StepDone::Invited`].
    Invite(Proof),
    /// Gives the wrapping key away under the public half of a pair. Answered by [`StepDone::Released`].
    Release {
        /// The security officer's PIN, who has to trust that key.
        so_pin: PinSource,
        /// Which wrapping key.
        proof: Proof,
        /// The pair's public half.
        invitation: Invitation,
    },
    /// Takes the wrapping key in. Answered by [`StepDone::Done`].
    Accept {
        /// Which wrapping key.
        proof: Proof,
        /// The pair.
        invitation: Invitation,
        /// The key.
        released: Released,
    },
    /// Destroys a pair to which no key will come. Answered by [`StepDone::Done`].
    Discard(Invitation),
}

/// What a step answers.
#[derive(Serialize, Deserialize)]
pub enum StepDone {
    /// It is done.
    Done,
    /// Whether it can be used.
    Seen(bool),
    /// The wrapping key, if there is one.
    Found(Option<WrappingKeyReport>),
    /// What the HSM can do, as JSON.
    Probed(String),
    /// Which wrapping key it has.
    Proved(Proof),
    /// The pair, if it needs one.
    Invited(Invited),
    /// The wrapping key.
    Released(Released),
}

impl StepDone {
    /// Whether it can be used.
    ///
    /// # Errors
    /// If this is the answer to another step.
    pub(super) fn seen(self) -> Result<bool, HsmError> {
        if let Self::Seen(usable) = self { Ok(usable) } else { Err(of_another_step()) }
    }

    /// What was found.
    ///
    /// # Errors
    /// If this is the answer to another step.
    pub fn found(self) -> Result<Option<WrappingKeyReport>, HsmError> {
        if let Self::Found(report) = self { Ok(report) } else { Err(of_another_step()) }
    }

    /// What the HSM can do.
    ///
    /// # Errors
    /// If this is the answer to another step.
    pub fn probed(self) -> Result<Profile, HsmError> {
        let Self::Probed(text) = self else { return Err(of_another_step()) };
        Profile::from_json(&text).map_err(|error| HsmError::new(Kind::Bug, "probe", error.to_string()))
    }
}

/// The worker has answered what was not asked.
pub(super) fn of_another_step() -> HsmError {
    HsmError::new(Kind::Bug, "worker process", "the answer is to another step")
}

/// Has a worker process of its own do one step with an HSM.
///
/// # Errors
/// Why it was not done.
pub async fn step(launch: &Launch, settings: &Settings, step: Step) -> Result<StepDone, HsmError> {
    process::step(launch, settings, step).await
}

/// The step itself, in the worker process. Blocks.
pub(super) fn perform(settings: Settings, step: Step) -> Result<StepDone, HsmError> {
    match step {
        Step::InitToken { so_pin } => engine::init_token_of(&settings, &so_pin).map(|()| StepDone::Done),
        Step::See => engine::see(&settings).map(StepDone::Seen),
        Step::Look => engine::look(&settings).map(StepDone::Found),
        Step::Init { sole } => engine::make_wrapping_key(&settings, sole).map(|key| StepDone::Found(Some(key))),
        Step::Probe => probe(&settings).map(StepDone::Probed),
        Step::Prove => joining::prove(&settings).map(StepDone::Proved),
        Step::Invite(proof) => joining::invite(&settings, &proof).map(StepDone::Invited),
        Step::Release { so_pin, proof, invitation } => {
            joining::release(&settings, &so_pin, &proof, &invitation).map(StepDone::Released)
        }
        Step::Accept { proof, invitation, released } => {
            joining::accept(&settings, &proof, &invitation, &released).map(|()| StepDone::Done)
        }
        Step::Discard(invitation) => joining::discard(&settings, &invitation).map(|()| StepDone::Done),
    }
}

fn probe(settings: &Settings) -> Result<String, HsmError> {
    let profile = serde_json::to_string(&engine::probe(settings)?);
    profile.map_err(|error| HsmError::new(Kind::Bug, "probe", error.to_string()))
}
