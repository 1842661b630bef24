//! `hsm join`: the wrapping key of one HSM comes to another, step by step, each in a worker process of its HSM.
//!
//! ```text
//!   from   Prove     which key, and something that only its holder can open
//!   to     Invite    has it already? else a pair of keys
//!   from   Release   the key under the pair's public half, which the security officer trusts
//!   to     Accept    the key, if it opens the proof; the pair is gone
//! ```
//!
//! The jobs and what passes between them are in `engine/setup/joining.rs`. Nothing that is interrupted leaves more behind than
//! the pair, which the next join clears away.

use sha2::{Digest, Sha256};

use super::engine::setup::{
    Accept, Discard, Invitation, Invite, Leaves, OneShot, Prove, Release, Released, WrappingKeyProof,
};
use super::error::HsmError;
use super::pin::PinSource;
use super::process::{Launch, carry_out};
use super::settings::Settings;

/// The result of a join.
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
    let invited = on(launch, to, Invite { proof: proof.clone() }).await?;
    let Some(invitation) = invited.waits() else { return Ok(Joined::Already) };
    show(&fingerprint(&invitation.public_key));
    let brought = bring(launch, from, to, so_pin, proof, &invitation).await;
    if brought.is_err()
        && let Err(error) = on(launch, to, Discard { invitation }).await
    {
        tracing::warn!(%error, "the pair of keys for the join was not destroyed; the next join does it");
    }
    brought.map(|()| Joined::Now)
}

async fn prove(launch: &Launch, from: &Settings) -> Result<WrappingKeyProof, HsmError> {
    let proof = on(launch, from, Prove).await?;
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
    proof: WrappingKeyProof,
    invitation: &Invitation,
) -> Result<(), HsmError> {
    let released = release(launch, from, so_pin, proof.clone(), invitation.clone()).await?;
    on(launch, to, Accept { proof, invitation: invitation.clone(), released }).await
}

async fn release(
    launch: &Launch,
    from: &Settings,
    so_pin: PinSource,
    proof: WrappingKeyProof,
    invitation: Invitation,
) -> Result<Released, HsmError> {
    on(launch, from, Release { so_pin, proof, invitation }).await
}

/// Has a job done; its error names the HSM.
async fn on<O: OneShot>(launch: &Launch, settings: &Settings, job: O) -> Result<O::Answer, HsmError> {
    carry_out(launch, settings, job).await.map_err(|error| error.of(&settings.name))
}

/// SHA-256 of the SubjectPublicKeyInfo, as other programs show it.
fn fingerprint(public_key: &[u8]) -> String {
    let pairs: Vec<_> = Sha256::digest(public_key).iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
