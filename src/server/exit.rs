//! The error with which the program ends.

use std::error::Error;

use crate::{
    error::with_causes,
    hsm::{HsmError, Kind},
};

/// Exit code when the HSM refuses the PIN (EX_CONFIG of sysexits.h): starting again would try the same PIN again, and a token
/// locks after a few wrong ones.
const EXIT_PIN_REFUSED: u8 = 78;

/// Why the program ends, in words for an operator, and its exit code.
#[derive(Debug)]
pub struct ExitError {
    /// The error, with its causes.
    pub text: String,
    /// The exit code.
    pub exit: u8,
}

impl ExitError {
    /// An error with exit code 1, and with the errors that caused it.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { text: with_causes(&*error.into()), exit: 1 }
    }
}

impl From<HsmError> for ExitError {
    fn from(error: HsmError) -> Self {
        let exit = if error.kind == Kind::PinRefused { EXIT_PIN_REFUSED } else { 1 };
        Self { text: format!("the HSM: {error}"), exit }
    }
}
