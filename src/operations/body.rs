//! Responses as JSON. They may hold plaintexts, so a buffer that is replaced by a larger one is wiped.

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::KmsError;

/// The body of a response; it may hold a plaintext.
pub type Body = Zeroizing<Vec<u8>>;

/// Initial capacity of a body, in bytes: most responses have no more, and to wipe a longer buffer takes longer.
const BODY_CAPACITY: usize = 512;

/// A body that is being written. When it grows, the smaller buffer is wiped, so that no plaintext is left behind.
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

/// Writes a response.
///
/// # Errors
/// `KMSInternalException` if it cannot be written as JSON, which would be a defect.
pub(super) fn write(answer: &impl Serialize) -> Result<Body, KmsError> {
    let mut body = GrowingBody(Zeroizing::new(Vec::with_capacity(BODY_CAPACITY)));
    serde_json::to_writer(&mut body, answer).map_err(KmsError::internal)?;
    let GrowingBody(mut body) = body;
    // Serde writes `null` for a unit struct; AWS sends an empty body.
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
