//! Bad data or a bad HSM? Modules answer both with the same codes (SoftHSM2: CKR_GENERAL_ERROR to a wrong tag).
//!
//! The data is blamed only when two attempts in two sessions failed and the HSM is known to be well: because something that
//! started later has succeeded, or because it decrypts a known answer. In any other case the HSM is to blame, and the caller
//! may try again.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Engine;
use super::pool::Failure;
use crate::hsm::command::{Asker, Command};
use crate::hsm::error::Kind;

/// How long the answer of a check is good, so that a flood of garbage does not double the HSM's load.
const CHECK_VALID: Duration = Duration::from_millis(250);

/// The last check: when it was made, and whether the HSM was well. Locked while one is made: single flight.
#[derive(Default)]
pub(super) struct LastCheck(Mutex<Option<(Instant, bool)>>);

impl Engine {
    /// What an ambiguous failure was.
    pub(super) async fn verdict(&self, failure: &Failure, deadline: Instant) -> Kind {
        let blames_data = failure.command.judges_data() && failure.lease.is_some();
        // Without a lease it was the key's handle that could not be made: then the key is to blame, if the HSM is not.
        let blames_key = failure.command.needs().is_some() && failure.lease.is_none();
        if !blames_data && !blames_key || !self.is_well(failure.started, deadline).await {
            return Kind::DeviceLost;
        }
        match blames_data {
            true => Kind::Rejected,
            false => Kind::KeyMissing,
        }
    }

    async fn is_well(&self, since: u64, deadline: Instant) -> bool {
        if self.core().has_succeeded_since(since) {
            return true;
        }
        let mut last = self.last_check().0.lock().await;
        if let Some((at, well)) = *last
            && at.elapsed() < CHECK_VALID
        {
            return well;
        }
        let well = self.attempt(Asker::SERVICE, Command::Check, deadline).await.is_ok();
        *last = Some((Instant::now(), well));
        well
    }
}
