//! The trial of CKA_WRAP_WITH_TRUSTED: whether this HSM keeps to it is found out by trying to get a key out in spite of it.
//!
//! A wrapping key that may leave under a trusted key is only as safe as the HSM's word that nobody but the security officer
//! makes a key trusted. So everything is tried here that somebody with the user's PIN could try.
//!
//! A wrapping key that only one HSM can ever hold makes that HSM a single point of loss, and `hsm join` impossible. So it may
//! leave under a key that the security officer has trusted and no other, where this trial finds that the HSM keeps to it;
//! `--sole` makes one that cannot leave.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};

use crate::key::material::WrapMechanism;

use super::round_trips;
use crate::hsm::engine::calls::objects::TemporaryObject;
use crate::hsm::engine::calls::public_key::RsaPublicKey;
use crate::hsm::engine::calls::session_calls::SessionCalls;
use crate::hsm::engine::calls::templates::{self, Lifetime};
use crate::hsm::engine::profile::bindings::{AES, AllowedMechanisms, RSA};
use crate::hsm::error::HsmError;

/// True if a key that may leave only under trusted keys leaves under nothing that the user can make. `calls` must be logged
/// in as the user.
pub(in crate::hsm) fn is_enforced(calls: SessionCalls<'_>) -> Result<bool, HsmError> {
    Ok(calls.settled(|| trial(calls))?.unwrap_or_else(|error| {
        tracing::debug!(%error, "whether the HSM keeps to CKA_WRAP_WITH_TRUSTED cannot be tried");
        false
    }))
}

fn trial(calls: SessionCalls<'_>) -> Result<bool, HsmError> {
    let wrapping = generate(calls, templates::wrapping_key(Lifetime::Leased, AllowedMechanisms::default()))?;
    let free = generate(calls, templates::to_generate(AES, Lifetime::Temporary, AllowedMechanisms::default()))?;
    let guarded = generate(calls, guarded())?;
    // Nothing but the attribute differs between the two, so a refusal is the attribute's doing.
    let wrapped = round_trips::wrap_somehow(calls, wrapping.handle, free.handle)?;
    Ok(is_refused(calls, || round_trips::wrap_somehow(calls, wrapping.handle, guarded.handle))?
        && is_for_good(calls, guarded.handle)?
        && only_the_officer_trusts(calls, wrapping.handle, wrapped)?)
}

/// True if the HSM refuses to do this, as opposed to failing at it.
fn is_refused<T>(calls: SessionCalls<'_>, attempt: impl Fn() -> Result<T, HsmError>) -> Result<bool, HsmError> {
    Ok(calls.settled(attempt)?.is_err())
}

fn generate<'a>(calls: SessionCalls<'a>, template: Vec<Attribute>) -> Result<TemporaryObject<'a>, HsmError> {
    Ok(TemporaryObject::new(calls.session, calls.session.generate_key(&Mechanism::AesKeyGen, &template)?))
}

fn guarded() -> Vec<Attribute> {
    let mut template = templates::to_generate(AES, Lifetime::Temporary, AllowedMechanisms::default());
    template.push(Attribute::WrapWithTrusted(true));
    template
}

/// True if the user cannot take the attribute away, from the key or from a copy.
fn is_for_good(calls: SessionCalls<'_>, guarded: ObjectHandle) -> Result<bool, HsmError> {
    let off = [Attribute::WrapWithTrusted(false)];
    Ok(is_refused(calls, || Ok(calls.session.update_attributes(guarded, &off)?))?
        && is_refused(calls, || Ok(calls.session.copy_object(guarded, &off)?))?)
}

/// True if the user can make no key trusted, in any of the ways to make one.
fn only_the_officer_trusts(
    calls: SessionCalls<'_>,
    wrapping: ObjectHandle,
    (by, blob): (WrapMechanism, Vec<u8>),
) -> Result<bool, HsmError> {
    let trusted = [Attribute::Trusted(true)];
    let too = |template: Vec<Attribute>| [&template[..], &trusted].concat();
    let new = too(templates::wrapping_key(Lifetime::Leased, AllowedMechanisms::default()));
    let unwrapped = too(templates::wrapping_key_to_unwrap(Lifetime::Leased, AllowedMechanisms::default()));
    let pair = too(templates::joining_public_to_generate(2048));
    let private = templates::to_generate(RSA, Lifetime::Leased, AllowedMechanisms::default());
    // Of the right size and odd, which is all that an HSM sees of a modulus.
    let public = RsaPublicKey { modulus: [vec![0xc5], vec![0x11; 383]].concat(), exponent: vec![1, 0, 1] };
    let session = calls.session;
    Ok(is_refused(calls, || Ok(session.update_attributes(wrapping, &trusted)?))?
        && is_refused(calls, || Ok(session.copy_object(wrapping, &trusted)?))?
        && is_refused(calls, || Ok(session.generate_key(&Mechanism::AesKeyGen, &new)?))?
        && is_refused(calls, || Ok(session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &pair, &private)?))?
        && is_refused(calls, || calls.unwrap(by, wrapping, &blob, &unwrapped))?
        && is_refused(calls, || Ok(session.create_object(&templates::joining_public_to_create(&public))?))?)
}
