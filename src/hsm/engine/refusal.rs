//! Whether an error that a trial ended with is the HSM's refusal, or a failure that says nothing about what it can do.
//!
//! A probe is believed for as long as the process lives, so nothing that passes may be taken for a lack: neither a session
//! that was lost, which would have every later trial refused, nor one `CKR_DEVICE_ERROR`. And the probe of
//! CKA_WRAP_WITH_TRUSTED takes each refusal for a proof of safety.

use crate::hsm::error::HsmError;

use super::crypto::Line;

impl Line<'_> {
    /// What `trial` comes to: its value, or the HSM's refusal. An error that need not be a refusal is believed when it comes
    /// twice and the session is well afterwards.
    ///
    /// # Errors
    ///
    /// Any other error: what this session is told from now on means nothing.
    pub(super) fn settled<T>(&self, trial: impl Fn() -> Result<T, HsmError>) -> Result<Result<T, HsmError>, HsmError> {
        let first = match trial() {
            Err(error) if !error.is_plain_refusal() => error,
            plain => return Ok(plain),
        };
        match trial() {
            Err(error) if error.is_plain_refusal() => Ok(Err(error)),
            Err(error) if error == first && !error.is_of_an_open_operation() => {
                self.is_logged_in().map(|()| Err(error))
            }
            Err(error) => Err(error),
            done => Ok(done),
        }
    }
}
