//! Answers as JSON. They may hold plaintexts, so what a buffer outgrows is wiped.

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::KmsError;

/// An answer's body; it may hold a plaintext.
pub type Body = Zeroizing<Vec<u8>>;

/// Room for most answers. To wipe a buffer costs as much as it is long.
const BODY_CAPACITY: usize = 512;

/// A body that is being written. What it outgrows is wiped, so that no plaintext is left behind.
struct GrowingBody(Body);

impl GrowingBody {
    fn grow(&mut self, length: usize) {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.max(self.0.capacity() * 4)));
        larger.extend_from_slice(&self.0);
        self.0 = larger;
    }
}

impl io::Write for GrowingBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.len() + bytes.len();
        if length > self.0.capacity() {
            self.grow(length);
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an answer.
///
/// # Errors
/// `KMSInternalException` for what is no JSON, which would be a defect.
pub(super) fn write(answer: &impl Serialize) -> Result<Body, KmsError> {
    let mut body = GrowingBody(Zeroizing::new(Vec::with_capacity(BODY_CAPACITY)));
    serde_json::to_writer(&mut body, answer).map_err(KmsError::internal)?;
    let GrowingBody(mut body) = body;
    // Serde's word for "no answer" is `null`; AWS's is an empty body.
    if body.as_slice() == b"null" {
        body.clear();
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_written_whole() {
        let text = "x".repeat(20 * BODY_CAPACITY);
        let body = write(&[text.as_str(); 3]).unwrap();
        assert_eq!(*body, serde_json::to_vec(&[text.as_str(); 3]).unwrap());
    }
}
