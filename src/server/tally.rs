//! Connections that came to nothing. Each is counted in the metrics; the log tells of them in one line now and then, however
//! many there are, for whoever makes them chooses how many.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::kms::Kms;

/// There are no two lines within this time.
const EVERY: Duration = Duration::from_secs(60);

/// Counts them.
pub(super) struct Tally {
    kms: Arc<Kms>,
    untold: Mutex<Untold>,
}

#[derive(Default)]
struct Untold {
    told: Option<Instant>,
    counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn new(kms: Arc<Kms>) -> Self {
        Self { kms, untold: Mutex::default() }
    }

    /// One more, for this reason.
    pub(super) fn count(&self, reason: &'static str) {
        self.kms.observe_lost_connection(reason);
        let line = self.untold.lock().count(reason, Instant::now());
        if let Some(counts) = line {
            let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            tracing::info!(counts = counts.join(", "), "connections came to nothing");
        }
    }
}

/// One connection among those that are open, for as long as this is held.
pub(super) struct Open(Arc<Kms>);

impl Tally {
    /// One more is open.
    pub(super) fn open(&self) -> Open {
        self.kms.observe_connection(true);
        Open(Arc::clone(&self.kms))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.observe_connection(false);
    }
}

impl Untold {
    /// What is to be told, if it is time.
    fn count(&mut self, reason: &'static str, now: Instant) -> Option<BTreeMap<&'static str, u64>> {
        *self.counts.entry(reason).or_default() += 1;
        let is_time = self.told.is_none_or(|told| now.saturating_duration_since(told) >= EVERY);
        is_time.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.counts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_those_after_it_together() {
        let (mut untold, start) = (Untold::default(), Instant::now());
        assert_eq!(untold.count("a", start), Some(BTreeMap::from([("a", 1)])));
        for _ in 0..1000 {
            assert_eq!(untold.count("a", start), None);
            assert_eq!(untold.count("b", start + EVERY / 2), None);
        }
        assert_eq!(untold.count("b", start + EVERY), Some(BTreeMap::from([("a", 1000), ("b", 1001)])));
        assert_eq!(untold.count("b", start + EVERY), None);
    }
}
