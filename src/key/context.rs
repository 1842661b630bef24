//! The encryption context: pairs that a ciphertext is bound to and that policies and the audit trail can see.

use std::collections::BTreeMap;

/// The largest canonical form, in bytes. AWS documents no limit; its external key stores stop at 8,192.
pub const MAX_CONTEXT_BYTES: usize = 8192;

/// Encryption context. Keys and values are compared byte for byte, without regard to order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// Takes the pairs.
    ///
    /// # Errors
    /// If the canonical form would be longer than [`MAX_CONTEXT_BYTES`].
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self, ContextTooLong> {
        let length = 4 + pairs.iter().map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>();
        if length > MAX_CONTEXT_BYTES { Err(ContextTooLong) } else { Ok(Self(pairs)) }
    }

    /// The pairs, sorted by the UTF-8 bytes of their keys.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// True if there are no pairs; absent and empty are the same.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the canonical form: number of pairs, then each key and value with its length, all lengths 32-bit big
    /// endian. No separator that a key or value could contain, so no two contexts have one form.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        write_length(out, self.0.len());
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            write_length(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The encryption context is longer than [`MAX_CONTEXT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub struct ContextTooLong;

/// Lengths are bounded by [`MAX_CONTEXT_BYTES`], so they fit.
fn write_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(pairs: &[(&str, &str)]) -> Vec<u8> {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut out = Vec::new();
        EncryptionContext::new(pairs).expect("short").write_canonical(&mut out);
        out
    }

    #[test]
    fn order_does_not_matter_and_borders_do() {
        assert_eq!(canonical(&[("a", "1"), ("b", "2")]), canonical(&[("b", "2"), ("a", "1")]));
        assert_ne!(canonical(&[("ab", "c")]), canonical(&[("a", "bc")]));
        assert_eq!(canonical(&[]), [0, 0, 0, 0]);
        assert_eq!(canonical(&[("k", "")]), b"\0\0\0\x01\0\0\0\x01k\0\0\0\0");
    }

    #[test]
    fn the_canonical_form_has_a_bound() {
        let pairs = |n| BTreeMap::from([("k".to_owned(), "v".repeat(n))]);
        assert!(EncryptionContext::new(pairs(MAX_CONTEXT_BYTES - 13)).is_ok());
        assert_eq!(EncryptionContext::new(pairs(MAX_CONTEXT_BYTES - 12)), Err(ContextTooLong));
    }
}
