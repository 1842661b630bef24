//! Every way for an encoded message to be right and to be wrong, and un-padders that leak which it is.

use std::hint::black_box;

use sha2::{Digest, Sha256};

use crate::oaep;

const HASH: usize = 32;

/// An encoded message, and what its un-padding must give.
pub struct Case {
    pub name: &'static str,
    pub encoded: Vec<u8>,
    pub message: Option<Vec<u8>>,
}

/// Every way to be right and to be wrong (RFC 8017 section 7.1.2, step 3g).
pub fn cases(k: usize) -> Vec<Case> {
    let room = k - 2 * HASH - 1;
    let label_hash: [u8; HASH] = Sha256::digest([]).into();
    let mut other_label = label_hash;
    other_label[31] ^= 1;
    let seed = [7; HASH];

    // Zeros, and the bytes of `set` at their places.
    let padded = |set: &[(usize, u8)]| {
        let mut bytes = vec![0u8; room];
        set.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        bytes
    };
    let case = |name, leading: u8, label_hash: [u8; HASH], padded: Vec<u8>, message: Option<Vec<u8>>| {
        let mut encoded = [&[leading][..], &seed, &label_hash, &padded].concat();
        oaep::conceal(&mut encoded).expect("k is long enough");
        Case { name, encoded, message }
    };
    let right = |name, at: usize| {
        let mut bytes = padded(&[(at, 1)]);
        let message: Vec<u8> = (0u8..=255).cycle().take(room - at - 1).collect();
        bytes[at + 1..].copy_from_slice(&message);
        case(name, 0, label_hash, bytes, Some(message))
    };
    let wrong = |name, leading, label_hash, set: &[(usize, u8)]| case(name, leading, label_hash, padded(set), None);
    vec![
        right("valid, no message", room - 1),
        right("valid", room / 2),
        right("valid, longest message", 0),
        wrong("leading byte", 1, label_hash, &[(100, 1)]),
        wrong("label hash", 0, other_label, &[(100, 1)]),
        wrong("no separator", 0, label_hash, &[]),
        wrong("another byte for the separator", 0, label_hash, &[(100, 2)]),
        wrong("another byte before it", 0, label_hash, &[(99, 2), (100, 1)]),
        wrong("another byte at the front", 0, label_hash, &[(0, 2), (100, 1)]),
        wrong("all at once", 9, other_label, &[(0, 9)]),
    ]
}

/// An un-padder that leaks. What it answers is looked at by nobody, so only the leak can be reported.
pub type Leaky = fn(&mut [u8]) -> usize;

/// All of them, by what they do.
pub const LEAKY: [(&str, Leaky); 3] =
    [("returns early", returns_early), ("stops at the separator", stops_at_separator), ("looks up", looks_up)];

/// Manger's oracle as it is usually written: the rest is not done if the first byte is not zero.
fn returns_early(encoded: &mut [u8]) -> usize {
    if encoded[0] != 0 {
        return 0;
    }
    oaep::reveal(encoded);
    usize::from(encoded[1])
}

/// The time tells where the message begins.
fn stops_at_separator(encoded: &mut [u8]) -> usize {
    oaep::reveal(encoded);
    encoded[1 + 2 * HASH..].iter().position(|byte| *byte != 0).unwrap_or(0)
}

/// No branch, but the cache tells which line of the table was read.
fn looks_up(encoded: &mut [u8]) -> usize {
    let table: [usize; 256] = black_box(std::array::from_fn(|n| n * n));
    oaep::reveal(encoded);
    table[usize::from(encoded[1 + 2 * HASH])]
}
