//! Outputs that are not what the real module gave.

use std::slice;

use cryptoki_sys::{CK_ATTRIBUTE, CK_UNAVAILABLE_INFORMATION};

use super::call::{Call, Output};
use super::plan::Installed;
use super::tales;
use crate::function::Function;
use crate::rule::{Action, Lie};

/// Does to the output of a call that has succeeded what the rule says.
pub fn output(call: &Call, installed: &Installed) {
    match installed.rule.action {
        Action::FlipBit => flip(call),
        Action::Swap => swap(call, installed),
        Action::Length(lie) => lie_about(call, lie),
        Action::Tell(tale) => tales::tell(call, tale),
        Action::ConstantRandom(byte) => random(call, byte),
        Action::RepeatRandom => repeat(call, installed),
        _ => {}
    }
}

/// The output as the caller will see it; none if there is none or it is only asked for its length.
#[expect(clippy::mut_from_ref, reason = "the buffer is the caller's, not a part of `Call`")]
fn bytes(call: &Call) -> Option<&mut [u8]> {
    let (at, len) = match call.output {
        Output::Sized { at, len, room } if !at.is_null() && !len.is_null() => {
            // SAFETY: PKCS#11 section 5.2: the place of the length belongs to the call until it comes back.
            (at, unsafe { *len }.min(room))
        }
        Output::Random { at, len } if !at.is_null() => (at, len),
        _ => return None,
    };
    // SAFETY: the caller's buffer has `room` bytes, or the `len` of random ones that it asked for; it is ours until then.
    Some(unsafe { slice::from_raw_parts_mut(at, usize::try_from(len).ok()?) })
}

fn flip(call: &Call) {
    if let Some(first) = bytes(call).and_then(<[u8]>::first_mut) {
        *first ^= 1;
    }
    if call.function == Function::C_GetAttributeValue {
        call.templates.all().for_each(|(template, count)| {
            // SAFETY: the caller's template has `count` attributes, which the call may write.
            let attributes = unsafe { slice::from_raw_parts_mut(template, count as usize) };
            attributes.iter_mut().for_each(flip_attribute);
        });
    }
}

fn flip_attribute(attribute: &mut CK_ATTRIBUTE) {
    let has_value = !matches!(attribute.ulValueLen, 0 | CK_UNAVAILABLE_INFORMATION) && !attribute.pValue.is_null();
    if has_value {
        // SAFETY: the real module has written at least one byte there.
        unsafe { *attribute.pValue.cast::<u8>() ^= 1 };
    }
}

fn swap(call: &Call, installed: &Installed) {
    let Some(own) = bytes(call) else { return };
    if let Some(other) = installed.exchange(call.session.unwrap_or(0), own.to_vec()) {
        replace(call, &other);
    }
}

/// Writes another output, if the caller has the room.
fn replace(call: &Call, other: &[u8]) {
    let (at, room) = match call.output {
        Output::Sized { at, room, .. } => (at, room),
        Output::Random { at, len } => (at, len),
        _ => return,
    };
    if other.len() as u64 > room {
        return;
    }
    // SAFETY: the caller's buffer has this room, and the other output is in memory of ours.
    unsafe { std::ptr::copy_nonoverlapping(other.as_ptr(), at, other.len()) };
    set_length(call, |_| other.len() as u64);
}

fn lie_about(call: &Call, lie: Lie) {
    set_length(call, |length| match lie {
        Lie::Longer(by) => length.saturating_add(by),
        Lie::Shorter(by) => length.saturating_sub(by),
        Lie::TooSmall => length,
    });
}

/// For CKR_BUFFER_TOO_SMALL: what is asked for is more than there is.
pub fn ask_for_more(call: &Call) {
    set_length(call, |length| length.saturating_add(16));
}

fn set_length(call: &Call, of: impl Fn(u64) -> u64) {
    let (Output::Sized { len, .. } | Output::Count(len)) = call.output else { return };
    if !len.is_null() {
        // SAFETY: as in `bytes`.
        unsafe { *len = of(*len) };
    }
}

/// Every random byte is this one.
pub fn random(call: &Call, byte: u8) {
    if let (Output::Random { .. }, Some(output)) = (call.output, bytes(call)) {
        output.fill(byte);
    }
}

/// The bytes of the first call, from the beginning again when more are asked for.
fn repeat(call: &Call, installed: &Installed) {
    if !matches!(call.output, Output::Random { .. }) {
        return;
    }
    let Some(output) = bytes(call).filter(|output| !output.is_empty()) else { return };
    let first = installed.first_random.get_or_init(|| output.to_vec());
    output.iter_mut().zip(first.iter().cycle()).for_each(|(byte, repeated)| *byte = *repeated);
}
