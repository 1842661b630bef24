//! The messages between the service and a worker process. Both ends are this very program, so the format has no versions.

use serde::{Deserialize, Serialize};

use crate::hsm::counts::ErrorCount;
use crate::hsm::engine::setup::{AnyOneShot, AnyOneShotAnswer};
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;
use crate::secret::{SecretBytes, SecretText};

/// From the service to a worker. Commands go through the shared memory.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum ToWorker {
    /// The first frame: which HSM, its PIN if the service holds it, what it could do the last time, as JSON, and the seed of
    /// the checksums in the shared memory.
    Start { settings: Box<Settings>, pin: Option<SentPin>, known: Option<String>, seed: u64 },
    /// The call that this thread makes does not return: another is to take its place.
    Replace { thread: usize },
    /// Finish what is under way, and end.
    Stop,
    /// The first and only frame to a worker for one job: which HSM, its PIN if the service holds it, and what to do.
    OneShot { settings: Box<Settings>, pin: Option<SentPin>, job: Box<AnyOneShot> },
    /// The PIN that the worker wants; nothing if it cannot be had now.
    Pin(Option<SentPin>),
}

/// A PIN on its way.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) struct SentPin(SecretBytes);

impl From<SecretText> for SentPin {
    fn from(pin: SecretText) -> Self {
        Self(SecretBytes::from(pin.expose().as_bytes().to_vec()))
    }
}

impl From<SentPin> for SecretText {
    fn from(SentPin(pin): SentPin) -> Self {
        // It was text when it was sent.
        Self::from(String::from_utf8(pin.expose().to_vec()).unwrap_or_default())
    }
}

/// From a worker to the service.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum FromWorker {
    /// The first frame: the HSM is open, and this is what it can do, as JSON; or why it is not.
    Started(Result<String, HsmError>),
    /// How the worker is, twice a second.
    Report(Report),
    /// The answer to a job.
    CarriedOut(Result<AnyOneShotAnswer, HsmError>),
    /// Somebody is to log in, and the service holds the PIN.
    WantsPin,
}

/// How a worker is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::hsm) struct Report {
    /// Codes but CKR_OK that were answered to calls of no command.
    pub(in crate::hsm) errors: Vec<ErrorCount>,
    pub(in crate::hsm) lacks_wrapping_key: bool,
    /// Threads that were given up and are still in their calls.
    pub(in crate::hsm) threads_lost: u64,
    /// Threads that were given up and whose calls have returned after all.
    pub(in crate::hsm) threads_returned: u64,
    /// Memory that the process takes up, in bytes.
    pub(in crate::hsm) resident_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_and_are_in_no_document() {
        let secret = SecretBytes::from(b"plaintext".to_vec());
        let sent = postcard::to_allocvec(&secret).unwrap();
        assert_eq!(postcard::from_bytes::<SecretBytes>(&sent).unwrap().expose(), secret.expose());
        assert!(serde_json::to_string(&secret).is_err());
        assert!(serde_json::from_str::<SecretBytes>("\"plaintext\"").is_err());
    }
}
