//! RSAES-OAEP with SHA-256 on the host (RFC 8017 section 7.1), for HSMs that do raw RSA but not this OAEP.
//!
//! Un-padding leaks nothing but whether it succeeded: Manger's attack needs one bit more. There is no early return, no
//! branch and no index that depends on the encoded message; every secret buffer is zeroised. The label is empty.
//!
//! `scripts/constant-time` compiles this file as it is shipped and has valgrind look for such branches and indices.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

const HASH: usize = 32;

/// SHA-256 of the empty label.
const LABEL_HASH: [u8; HASH] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The longest message under a modulus of `k` bytes.
fn max_message_bytes(k: usize) -> Option<usize> {
    k.checked_sub(2 * HASH + 2)
}

/// EME-OAEP encoding of `message` for a modulus of `k` bytes; `None` if it does not fit.
pub(crate) fn pad(k: usize, seed: &[u8; HASH], message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = max_message_bytes(k)?.checked_sub(message.len())?;
    let mut encoded = Zeroizing::new(Vec::with_capacity(k));
    encoded.push(0);
    encoded.extend_from_slice(seed);
    encoded.extend_from_slice(&LABEL_HASH);
    encoded.extend(std::iter::repeat_n(0, zeros));
    encoded.push(1);
    encoded.extend_from_slice(message);
    conceal(&mut encoded)?;
    Some(encoded)
}

/// Masks the block with the seed, and the seed with the masked block.
pub(super) fn conceal(encoded: &mut [u8]) -> Option<()> {
    let (seed, block) = encoded.get_mut(1..)?.split_at_mut_checked(HASH)?;
    mask(block, seed);
    mask(seed, block);
    Some(())
}

/// The inverse of `conceal`.
pub(super) fn reveal(encoded: &mut [u8]) -> Option<()> {
    let (seed, block) = encoded.get_mut(1..)?.split_at_mut_checked(HASH)?;
    mask(seed, block);
    mask(block, seed);
    Some(())
}

/// EME-OAEP decoding of the `k` bytes that raw RSA gave. `None` says that it is not ours, and never why.
pub(super) fn unpad(encoded: &[u8], k: usize) -> Option<SecretBytes> {
    decode(encoded, k)?.tell()
}

/// The result of un-padding, before anyone is told.
pub(super) struct Decoded {
    /// True if all of it was as it must be.
    pub(super) valid: Choice,
    /// How many zeros stood before the message, which says how long it is; means something only if valid.
    pub(super) zeros: u32,
    /// The message, and zeros after it.
    message: Zeroizing<Vec<u8>>,
}

/// All of the un-padding. `None` only for what is public: the lengths. Not inlined, so that what is checked is what is called.
#[inline(never)]
pub(super) fn decode(encoded: &[u8], k: usize) -> Option<Decoded> {
    max_message_bytes(k).filter(|_| encoded.len() == k)?;
    let mut work = Zeroizing::new(encoded.to_vec());
    reveal(&mut work)?;
    let (leading, rest) = work.split_first()?;
    let (label_hash, padded) = rest.get(HASH..)?.split_at_checked(HASH)?;

    let (separated, zeros) = find_separator(padded);
    let valid = leading.ct_eq(&0) & label_hash.ct_eq(&LABEL_HASH) & separated;
    let mut message = Zeroizing::new(padded.get(1..)?.to_vec());
    shift_left(&mut message, zeros);
    Some(Decoded { valid, zeros, message })
}

impl Decoded {
    /// Tells the caller. Only here does it show whether it succeeded and, if so, how long the message is.
    pub(super) fn tell(mut self) -> Option<SecretBytes> {
        if !bool::from(self.valid) {
            return None;
        }
        let len = self.message.len().checked_sub(self.zeros as usize)?;
        self.message.truncate(len);
        Some(SecretBytes::from(std::mem::take(&mut *self.message)))
    }
}

/// True if `padded` is zeros and then a one; and the number of zeros. Looks at every byte, whatever it has seen.
fn find_separator(padded: &[u8]) -> (Choice, u32) {
    let mut only_zeros = Choice::from(1);
    let mut found = Choice::from(0);
    let mut zeros = 0u32;
    for (position, byte) in (0u32..).zip(padded) {
        let here = only_zeros & byte.ct_eq(&1);
        zeros.conditional_assign(&position, here);
        found |= here;
        only_zeros &= byte.ct_eq(&0);
    }
    (found, zeros)
}

/// Shifts the bytes left by `distance`, zeros coming in: one pass for every bit of the distance, each over all bytes.
fn shift_left(bytes: &mut [u8], distance: u32) {
    let len = bytes.len();
    for bit in 0..usize::BITS - len.leading_zeros() {
        let step = 1usize << bit;
        let taken = Choice::from((distance >> bit & 1) as u8);
        for to in 0..len {
            let moved = bytes.get(to + step).copied().unwrap_or(0);
            if let Some(byte) = bytes.get_mut(to) {
                byte.conditional_assign(&moved, taken);
            }
        }
    }
}

/// XORs MGF1-SHA-256 of `seed` (RFC 8017 appendix B.2.1) over `target`.
fn mask(target: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0u32..).zip(target.chunks_mut(HASH)) {
        let digest = Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize();
        let digest = Zeroizing::new(<[u8; HASH]>::from(digest));
        chunk.iter_mut().zip(digest.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: usize = 256;
    const SEED: [u8; HASH] = [7; HASH];

    /// An encoded message built by hand from its unmasked parts.
    fn encode(leading: u8, label_hash: [u8; HASH], padded: &[u8]) -> Vec<u8> {
        let mut encoded = [&[leading][..], &SEED, &label_hash, padded].concat();
        conceal(&mut encoded).unwrap();
        encoded
    }

    fn padded(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = vec![0; K - 2 * HASH - 1];
        bytes[100] = 1;
        change(&mut bytes);
        bytes
    }

    #[test]
    fn every_length_comes_back() {
        for k in [K, 384, 512] {
            for len in 0..=max_message_bytes(k).unwrap() {
                let message: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
                let encoded = pad(k, &SEED, &message).unwrap();
                assert_eq!((encoded.len(), encoded[0]), (k, 0));
                assert_eq!(unpad(&encoded, k).unwrap().expose(), message);
            }
        }
    }

    #[test]
    fn random_messages_of_zeros_and_ones_come_back() {
        for round in 0..200usize {
            let mut bytes = [0u8; 64 + HASH];
            getrandom::fill(&mut bytes).unwrap();
            let (seed, message) = bytes.split_at_mut(HASH);
            message.iter_mut().for_each(|byte| *byte &= 1);
            let message = &message[..round % 65];
            let seed: [u8; HASH] = seed.try_into().unwrap();
            assert_eq!(unpad(&pad(K, &seed, message).unwrap(), K).unwrap().expose(), message);
        }
    }

    #[test]
    fn too_long_does_not_fit() {
        assert!(pad(K, &SEED, &[0; 190]).is_some());
        assert!(pad(K, &SEED, &[0; 191]).is_none());
        assert!(pad(60, &SEED, &[]).is_none());
    }

    #[test]
    fn each_way_to_be_wrong_is_refused() {
        let good = padded(|_| ());
        let mut other_label = LABEL_HASH;
        other_label[31] ^= 1;
        assert!(unpad(&encode(0, LABEL_HASH, &good), K).is_some());
        for (what, encoded) in [
            ("leading byte", encode(1, LABEL_HASH, &good)),
            ("label hash", encode(0, other_label, &good)),
            ("no separator", encode(0, LABEL_HASH, &padded(|p| p[100] = 0))),
            ("a two for the one", encode(0, LABEL_HASH, &padded(|p| p[100] = 2))),
            ("a two before the one", encode(0, LABEL_HASH, &padded(|p| p[99] = 2))),
            ("a two at the front", encode(0, LABEL_HASH, &padded(|p| p[0] = 2))),
            ("all at once", encode(9, other_label, &padded(|p| p[0] = 9))),
        ] {
            assert!(unpad(&encoded, K).is_none(), "{what}");
        }
    }

    #[test]
    fn the_shortest_and_the_longest_padding_are_read() {
        let longest = padded(|p| p[0] = 1);
        assert_eq!(unpad(&encode(0, LABEL_HASH, &longest), K).unwrap().len(), 190);
        let empty = padded(|p| {
            p[100] = 0;
            p[190] = 1;
        });
        assert!(unpad(&encode(0, LABEL_HASH, &empty), K).unwrap().is_empty());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused_or_changes_only_the_message() {
        let encoded = pad(K, &SEED, b"attack at dawn").unwrap();
        for at in 0..K {
            let mut flipped = encoded.to_vec();
            flipped[at] ^= 0x80;
            assert!(unpad(&flipped, K).is_none(), "byte {at}");
        }
    }

    #[test]
    fn the_wrong_length_is_refused() {
        assert!(unpad(&[0; K - 1], K).is_none());
        assert!(unpad(&[0; K + 1], K).is_none());
        assert!(unpad(&[], 0).is_none());
    }

    #[test]
    fn the_label_hash_is_that_of_nothing() {
        assert_eq!(<[u8; HASH]>::from(Sha256::digest([])), LABEL_HASH);
    }
}
