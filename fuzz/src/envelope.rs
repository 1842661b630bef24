//! The ciphertext blob of Decrypt and ReEncrypt (docs/ciphertext-format.md).

use strongroom::envelope::Envelope;

/// A blob has one encoding: what decodes is what its parts encode to.
pub fn check(bytes: &[u8]) {
    if let Some(envelope) = Envelope::decode(bytes) {
        assert_eq!(envelope.encode(), bytes);
    }
}
