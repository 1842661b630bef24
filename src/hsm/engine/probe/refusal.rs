//! Tells the HSM's refusal of a trial from a failure, which says nothing about what it can do.
//!
//! A probe is believed for as long as the process lives, so nothing that passes may be taken for a lack: neither a session
//! that was lost, which would have every later trial refused, nor one `CKR_DEVICE_ERROR`. And the trial of
//! CKA_WRAP_WITH_TRUSTED takes each refusal for a proof of safety. So an error that need not be a refusal is believed when the
//! same comes twice and the login is well afterwards; any other ends the probe, which has to be begun anew.

use cryptoki::session::Session;

use crate::hsm::error::HsmError;

use crate::hsm::engine::calls::session_calls::SessionCalls;

/// How a trial ended that did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hsm) struct TrialFailure {
    pub(in crate::hsm) error: HsmError,
    /// True if a refusal is what the trial was to show.
    pub(in crate::hsm) is_wanted: bool,
}

impl TrialFailure {
    /// A refusal that the trial was to show.
    pub(in crate::hsm) fn wanted(error: HsmError) -> Self {
        Self { error, is_wanted: true }
    }
}

impl From<HsmError> for TrialFailure {
    fn from(error: HsmError) -> Self {
        Self { error, is_wanted: false }
    }
}

impl From<TrialFailure> for HsmError {
    fn from(failure: TrialFailure) -> Self {
        failure.error
    }
}

impl AsRef<HsmError> for TrialFailure {
    fn as_ref(&self) -> &HsmError {
        &self.error
    }
}

/// The sessions of a probe. Of an operation that failed nobody knows whether it has ended, so the session that it was begun in is
/// given up.
pub(in crate::hsm) struct Sessions<'a> {
    /// Where objects are made that are there for several trials. No operation is begun in it.
    pub(in crate::hsm) home: SessionCalls<'a>,
    open: &'a dyn Fn() -> Result<Session, HsmError>,
    current: Session,
}

impl<'a> Sessions<'a> {
    /// The session `home` must be logged in; `open` opens another session beside it.
    pub(in crate::hsm) fn new(
        home: SessionCalls<'a>,
        open: &'a dyn Fn() -> Result<Session, HsmError>,
    ) -> Result<Self, HsmError> {
        Ok(Self { home, open, current: open()? })
    }

    /// The result of `trial`: its value, or the HSM's refusal.
    ///
    /// # Errors
    ///
    /// Any other failure.
    pub(in crate::hsm) fn settled<T, E>(
        &mut self,
        trial: impl Fn(SessionCalls<'_>) -> Result<T, E>,
    ) -> Result<Result<T, E>, HsmError>
    where
        E: AsRef<HsmError> + Into<HsmError> + PartialEq,
    {
        let first = match without_doubt(trial(self.calls())) {
            Ok(settled) => return Ok(settled),
            Err(first) => first,
        };
        self.renew()?;
        let second = trial(self.calls());
        self.renew()?;
        believed(&first, second)
    }

    fn calls(&self) -> SessionCalls<'_> {
        SessionCalls { session: &self.current, ..self.home }
    }

    fn renew(&mut self) -> Result<(), HsmError> {
        self.current = (self.open)()?;
        self.calls().is_logged_in()
    }
}

impl SessionCalls<'_> {
    /// The result of `attempt`: its value, or the HSM's refusal. It must begin no operation: each of its calls, such as making
    /// an object, has ended when its function returns.
    ///
    /// # Errors
    ///
    /// Any other failure.
    pub(in crate::hsm) fn settled<T, E>(&self, attempt: impl Fn() -> Result<T, E>) -> Result<Result<T, E>, HsmError>
    where
        E: AsRef<HsmError> + Into<HsmError> + PartialEq,
    {
        let first = match without_doubt(attempt()) {
            Ok(settled) => return Ok(settled),
            Err(first) => first,
        };
        let second = attempt();
        self.is_logged_in()?;
        believed(&first, second)
    }
}

/// The result of a trial, or an error that may not be a refusal.
fn without_doubt<T, E: AsRef<HsmError>>(came_to: Result<T, E>) -> Result<Result<T, E>, E> {
    match came_to {
        Err(error) if !error.as_ref().is_plain_refusal() => Err(error),
        settled => Ok(settled),
    }
}

/// The result of a trial's second run, unless that is in doubt and another error than the first.
fn believed<T, E>(first: &E, second: Result<T, E>) -> Result<Result<T, E>, HsmError>
where
    E: AsRef<HsmError> + Into<HsmError> + PartialEq,
{
    match without_doubt(second) {
        Err(error) if error != *first => Err(error.into()),
        Err(same) => Ok(Err(same)),
        Ok(settled) => Ok(settled),
    }
}
