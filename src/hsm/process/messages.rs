//! The messages between the service and a worker process. Both ends are this very program, so the format has no versions.

use serde::{Deserialize, Serialize};

use crate::hsm::engine::command::{AnyAnswer, AnyCommand};
use crate::hsm::engine::setup::{AnyOneShot, AnyOneShotAnswer};
use crate::hsm::engine::{Engine, ErrorCount, Gauges};
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::MaterialId;
use crate::secret::{SecretBytes, SecretText};

/// From the service to a worker.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum ToWorker<'a> {
    /// The first frame: which HSM, its PIN if the service holds it, and what it could do the last time, as JSON.
    Start { settings: Box<Settings>, pin: Option<SentPin>, known: Option<String> },
    /// Do this.
    Call(SentCommand<'a>),
    /// Log in anew and decrypt the known answer, as [`Check`](crate::hsm::engine::command::Check) does.
    CheckAnew { number: u64, patience_us: u64 },
    /// Forget the handles of this material.
    Forget(MaterialId),
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

/// One command on its way.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) struct SentCommand<'a> {
    /// The number of the answer, too.
    pub(in crate::hsm) number: u64,
    /// How long it may take, in microseconds.
    pub(in crate::hsm) patience_us: u64,
    /// For whom it is done.
    pub(in crate::hsm) asker: Asker,
    pub(in crate::hsm) command: AnyCommand<'a>,
}

/// From a worker to the service.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum FromWorker {
    /// The first frame: the HSM is open, and this is what it can do, as JSON; or why it is not.
    Started(Result<String, HsmError>),
    /// The answer to a command.
    Answer { number: u64, result: Result<AnyAnswer, HsmError> },
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
    pub(in crate::hsm) gauges: Gauges,
    pub(in crate::hsm) errors: Vec<ErrorCount>,
    pub(in crate::hsm) lacks_wrapping_key: bool,
    /// Memory that the process takes up, in bytes.
    pub(in crate::hsm) resident_bytes: u64,
}

impl Report {
    pub(in crate::hsm) fn of(engine: &Engine) -> Self {
        let lacks_wrapping_key = engine.lacks_wrapping_key();
        Self { gauges: engine.gauges(), errors: engine.errors(), lacks_wrapping_key, resident_bytes: 0 }
    }
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
