//! `hsm join`: the wrapping key of one HSM comes to another, step by step, each in a worker process of its HSM.
//!
//! ```text
//!   from   Prove     which key, and something that only its holder can open
//!   to     Invite    has it already? else a pair of keys
//!   from   Release   the key under the pair's public half, which the security officer trusts
//!   to     Accept    the key, if it opens the proof; the pair is gone
//! ```
//!
//! The steps and what passes between them are in `engine/joining.rs`. Nothing that is interrupted leaves more behind than
//! the pair, which the next join clears away.

use sha2::{Digest, Sha256};

use super::engine::Leaves;
use super::engine::joining::{Invitation, Proof, Released};
use super::error::HsmError;
use super::link::Launch;
use super::pin::PinSource;
use super::settings::Settings;
use super::steps::{Step, StepDone, of_another_step, step};

/// What a join came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The HSM has the wrapping key now.
    Now,
    /// It had it.
    Already,
}

/// Brings the wrapping key of `from` to `to`. `so_pin` is the security officer's of `from`; `show` gets the fingerprint of the
/// key under which it travels, before it does.
///
/// # Errors
/// Why it was not brought; then nothing has changed on either.
pub async fn join(
    launch: &Launch,
    from: &Settings,
    to: &Settings,
    so_pin: PinSource,
    show: impl FnOnce(&str),
) -> Result<Joined, HsmError> {
    let proof = prove(launch, from).await?;
    let invitation = match on(launch, to, Step::Invite(proof.clone())).await? {
        StepDone::Invited(invited) => invited.waits(),
        _ => return Err(of_another_step()),
    };
    let Some(invitation) = invitation else { return Ok(Joined::Already) };
    show(&fingerprint(&invitation.public_key));
    let brought = bring(launch, from, to, so_pin, proof, &invitation).await;
    if brought.is_err()
        && let Err(error) = on(launch, to, Step::Discard(invitation)).await
    {
        tracing::warn!(%error, "the pair of keys for the join was not destroyed; the next join does it");
    }
    brought.map(|()| Joined::Now)
}

async fn prove(launch: &Launch, from: &Settings) -> Result<Proof, HsmError> {
    let StepDone::Proved(proof) = on(launch, from, Step::Prove).await? else { return Err(of_another_step()) };
    match proof.leaves {
        Leaves::Never => Err(HsmError::misconfigured(
            "join",
            "its wrapping key can never leave it: it was made with `--sole`, or by a version without `join`, or the HSM does \
             not keep such keys to trusted ones. Bring it to the other HSM by the maker's own cloning, under the same label \
             and CKA_ID",
        )
        .of(&from.name)),
        Leaves::UnderTrusted | Leaves::UnderAny => Ok(proof),
    }
}

async fn bring(
    launch: &Launch,
    from: &Settings,
    to: &Settings,
    so_pin: PinSource,
    proof: Proof,
    invitation: &Invitation,
) -> Result<(), HsmError> {
    let released = release(launch, from, so_pin, proof.clone(), invitation.clone()).await?;
    on(launch, to, Step::Accept { proof, invitation: invitation.clone(), released }).await.map(|_| ())
}

async fn release(
    launch: &Launch,
    from: &Settings,
    so_pin: PinSource,
    proof: Proof,
    invitation: Invitation,
) -> Result<Released, HsmError> {
    match on(launch, from, Step::Release { so_pin, proof, invitation }).await? {
        StepDone::Released(released) => Ok(released),
        _ => Err(of_another_step()),
    }
}

/// One step, and in its error the name of the HSM that it was of.
async fn on(launch: &Launch, settings: &Settings, order: Step) -> Result<StepDone, HsmError> {
    step(launch, settings, order).await.map_err(|error| error.of(&settings.name))
}

/// SHA-256 of the SubjectPublicKeyInfo, as other programs show it.
fn fingerprint(public_key: &[u8]) -> String {
    let pairs: Vec<_> = Sha256::digest(public_key).iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
