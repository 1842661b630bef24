//! Whether this HSM keeps to CKA_WRAP_WITH_TRUSTED, found out by trying to get a key out in spite of it.
//!
//! A wrapping key that may leave under a trusted key is only as safe as the HSM's word that nobody but the security officer
//! makes a key trusted. So everything is tried here that somebody with the user's PIN could try.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};

use crate::key::material::WrapMechanism;

use super::round_trips;
use crate::hsm::engine::calls::crypto::Line;
use crate::hsm::engine::calls::objects::Passing;
use crate::hsm::engine::calls::public_key::RsaPublicKey;
use crate::hsm::engine::calls::templates::{self, Life};
use crate::hsm::engine::profile::bindings::{AES, Allowed, RSA};
use crate::hsm::error::HsmError;

/// Whether a key that may leave only under trusted keys leaves under nothing that the user can make. `line` must be logged
/// in as the user.
pub(in crate::hsm) fn is_enforced(line: Line<'_>) -> Result<bool, HsmError> {
    Ok(line.settled(|| trial(line))?.unwrap_or_else(|error| {
        tracing::debug!(%error, "whether the HSM keeps to CKA_WRAP_WITH_TRUSTED cannot be tried");
        false
    }))
}

fn trial(line: Line<'_>) -> Result<bool, HsmError> {
    let wrapping = generate(line, templates::wrapping_key(Life::Leased, Allowed::default()))?;
    let free = generate(line, templates::to_generate(AES, Life::Passing, Allowed::default()))?;
    let guarded = generate(line, guarded())?;
    // Nothing but the attribute differs between the two, so a refusal is the attribute's doing.
    let wrapped = round_trips::wrap_somehow(line, wrapping.handle, free.handle)?;
    Ok(is_refused(line, || round_trips::wrap_somehow(line, wrapping.handle, guarded.handle))?
        && is_for_good(line, guarded.handle)?
        && only_the_officer_trusts(line, wrapping.handle, wrapped)?)
}

/// Whether the HSM refuses to do this, as opposed to failing at it.
fn is_refused<T>(line: Line<'_>, attempt: impl Fn() -> Result<T, HsmError>) -> Result<bool, HsmError> {
    Ok(line.settled(attempt)?.is_err())
}

fn generate<'a>(line: Line<'a>, template: Vec<Attribute>) -> Result<Passing<'a>, HsmError> {
    Ok(Passing::new(line.session, line.session.generate_key(&Mechanism::AesKeyGen, &template)?))
}

fn guarded() -> Vec<Attribute> {
    let mut template = templates::to_generate(AES, Life::Passing, Allowed::default());
    template.push(Attribute::WrapWithTrusted(true));
    template
}

/// Whether the user cannot take the attribute away, from the key or from a copy.
fn is_for_good(line: Line<'_>, guarded: ObjectHandle) -> Result<bool, HsmError> {
    let off = [Attribute::WrapWithTrusted(false)];
    Ok(is_refused(line, || Ok(line.session.update_attributes(guarded, &off)?))?
        && is_refused(line, || Ok(line.session.copy_object(guarded, &off)?))?)
}

/// Whether the user can make no key trusted, in any of the ways to make one.
fn only_the_officer_trusts(
    line: Line<'_>,
    wrapping: ObjectHandle,
    (by, blob): (WrapMechanism, Vec<u8>),
) -> Result<bool, HsmError> {
    let trusted = [Attribute::Trusted(true)];
    let too = |template: Vec<Attribute>| [&template[..], &trusted].concat();
    let new = too(templates::wrapping_key(Life::Leased, Allowed::default()));
    let unwrapped = too(templates::wrapping_key_to_unwrap(Life::Leased, Allowed::default()));
    let pair = too(templates::joining_public_to_generate(2048));
    let private = templates::to_generate(RSA, Life::Leased, Allowed::default());
    // Of the right size and odd, which is all that an HSM sees of a modulus.
    let public = RsaPublicKey { modulus: [vec![0xc5], vec![0x11; 383]].concat(), exponent: vec![1, 0, 1] };
    let session = line.session;
    Ok(is_refused(line, || Ok(session.update_attributes(wrapping, &trusted)?))?
        && is_refused(line, || Ok(session.copy_object(wrapping, &trusted)?))?
        && is_refused(line, || Ok(session.generate_key(&Mechanism::AesKeyGen, &new)?))?
        && is_refused(line, || Ok(session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &pair, &private)?))?
        && is_refused(line, || line.unwrap(by, wrapping, &blob, &unwrapped))?
        && is_refused(line, || Ok(session.create_object(&templates::joining_public_to_create(&public))?))?)
}
