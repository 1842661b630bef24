//! Bad data or a bad HSM? Modules answer both with the same codes (SoftHSM2: CKR_GENERAL_ERROR to a wrong tag).
//!
//! The data is blamed only when it was refused, the HSM was then known to be well, the data was refused again in another
//! session, and the HSM is still known to be well: because something that started later has succeeded, or because it
//! decrypts a known answer. So an outage that begins or ends between two attempts blames nobody's data. In any other case the
//! HSM is to blame, and the caller may try again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Dispatcher;
use super::attempts::FailedAttempt;
use crate::hsm::engine::command::{Check, Command};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::Moment;
use crate::identity::Asker;

/// How long an HSM that did not give the known answer is not asked again.
const ILL_FOR: Duration = Duration::from_millis(250);

/// The last check. Locked while one is made: single flight, and all who wait are served by the next.
#[derive(Default)]
pub(super) struct LastCheck(Mutex<Option<Checked>>);

struct Checked {
    began: Moment,
    ended: Instant,
    well: bool,
}

impl Dispatcher {
    /// Decides who is to blame for an ambiguous failure.
    pub(super) async fn verdict<C: Command>(&self, command: &C, failure: &FailedAttempt, deadline: Instant) -> Kind {
        let needs_handle = command.needs().handle().is_some();
        let blames_data = C::JUDGES_DATA && (failure.lease.is_some() || !needs_handle);
        // Without a lease it was the key's handle that could not be made: then the key is to blame, if the HSM is not.
        let blames_key = needs_handle && failure.lease.is_none();
        if !blames_data && !blames_key {
            return Kind::DeviceLost;
        }
        match self.is_well(failure.began, deadline).await {
            Ok(true) if blames_data => Kind::Rejected,
            Ok(true) => Kind::KeyMissing,
            Ok(false) => Kind::DeviceLost,
            Err(unasked) => unasked.kind,
        }
    }

    /// True if the HSM has been seen well by something that started after `since`.
    ///
    /// # Errors
    /// If it has too much to do to be asked in time, which says nothing against it.
    pub(super) async fn is_well(&self, since: Moment, deadline: Instant) -> Result<bool, HsmError> {
        if self.latest_success.load(Ordering::Relaxed) > since.nanos() {
            return Ok(true);
        }
        let mut last = self.last_check.0.lock().await;
        match &*last {
            Some(check) if check.well && check.began > since => return Ok(true),
            Some(check) if !check.well && check.ended.elapsed() < ILL_FOR => return Ok(false),
            _ => {}
        }
        let began = Moment::now();
        let well = match self.attempt(Asker::SERVICE, &Check, deadline).await {
            Err(failure) if failure.error.kind == Kind::Busy => return Err(failure.error),
            checked => checked.is_ok(),
        };
        *last = Some(Checked { began, ended: Instant::now(), well });
        Ok(well)
    }
}
