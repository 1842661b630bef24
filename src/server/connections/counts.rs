//! Counts of connections: those that are open, and those that were lost, which means that they ended without a request that
//! could be served, or before its answer.
//!
//! Each is counted in the metrics. The log tells of lost ones in one line a minute, however many there are: clients choose how
//! many.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::kms::Kms;

/// The shortest time between two lines of the log.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Counts connections.
pub(in crate::server) struct ConnectionCounts {
    kms: Arc<Kms>,
    unlogged: Mutex<UnloggedCounts>,
}

/// Lost connections since the last line of the log, by reason.
#[derive(Default)]
struct UnloggedCounts {
    logged: Option<Instant>,
    counts: BTreeMap<&'static str, u64>,
}

/// A connection that counts as open until this is dropped.
pub(super) struct OpenConnection(Arc<Kms>);

impl ConnectionCounts {
    pub(in crate::server) fn new(kms: Arc<Kms>) -> Self {
        Self { kms, unlogged: Mutex::default() }
    }

    /// Counts a connection as open.
    pub(super) fn open(&self) -> OpenConnection {
        self.kms.observe_connection(true);
        OpenConnection(Arc::clone(&self.kms))
    }

    /// Counts a connection that was lost for this reason, as the metrics name it.
    pub(super) fn count_lost(&self, reason: &'static str) {
        self.kms.observe_lost_connection(reason);
        let due = self.unlogged.lock().count(reason, Instant::now());
        if let Some(counts) = due {
            let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            tracing::info!(counts = counts.join(", "), "connections came to nothing");
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.observe_connection(false);
    }
}

impl UnloggedCounts {
    /// Counts one, and takes all counts if it is time for a line of the log.
    fn count(&mut self, reason: &'static str, now: Instant) -> Option<BTreeMap<&'static str, u64>> {
        *self.counts.entry(reason).or_default() += 1;
        let is_time = self.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_EVERY);
        is_time.then(|| {
            self.logged = Some(now);
            std::mem::take(&mut self.counts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_at_once_and_those_after_it_together() {
        let mut unlogged = UnloggedCounts::default();
        let start = Instant::now();
        assert_eq!(unlogged.count("a", start), Some(BTreeMap::from([("a", 1)])));
        for _ in 0..1000 {
            assert_eq!(unlogged.count("a", start), None);
            assert_eq!(unlogged.count("b", start + LOG_EVERY / 2), None);
        }
        assert_eq!(unlogged.count("b", start + LOG_EVERY), Some(BTreeMap::from([("a", 1000), ("b", 1001)])));
        assert_eq!(unlogged.count("b", start + LOG_EVERY), None);
    }
}
