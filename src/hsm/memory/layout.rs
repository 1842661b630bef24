//! Where things are in the memory that the service and a worker process share.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The most bytes of a command or of its answer. The longest that there is, a key pair of ML-DSA-87 with its wrapped form, has
/// an eighth of it.
pub(in crate::hsm) const MAILBOX_BYTES: usize = 64 * 1024;

/// The most workers of one HSM, each of which has a session.
pub const MAX_SESSIONS: usize = 400;

/// As many commands may wait in the memory for one thread in a short call.
pub(in crate::hsm) const AHEAD: usize = 2;

/// The threads of a worker process, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// Any worker.
    Work,
    /// The one thread for calls that take seconds, so that they cannot hold up the others.
    Slow,
    /// The one thread that creates and destroys token objects. Several at a time fail on SoftHSM2.
    Writer,
    /// The one thread whose session holds the login and every leased object.
    Anchor,
}

/// The lanes in the order of their threads and mailboxes.
pub(in crate::hsm) const LANES: [Lane; 4] = [Lane::Work, Lane::Slow, Lane::Writer, Lane::Anchor];

/// The number of threads and mailboxes of each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) struct Layout {
    workers: usize,
}

impl Layout {
    /// The layout for so many workers beside the other lanes.
    pub(in crate::hsm) fn new(workers: usize) -> Self {
        Self { workers: workers.clamp(1, MAX_SESSIONS) }
    }

    /// The threads of all lanes.
    pub(in crate::hsm) fn all_threads(self) -> usize {
        self.workers + LANES.len() - 1
    }

    /// The mailboxes of all lanes.
    pub(super) fn all_mailboxes(self) -> usize {
        self.all_threads() * (1 + AHEAD)
    }

    /// The threads of a lane.
    pub(in crate::hsm) fn threads(self, lane: Lane) -> Range<usize> {
        match lane {
            Lane::Work => 0..self.workers,
            Lane::Slow => self.workers..self.workers + 1,
            Lane::Writer => self.workers + 1..self.workers + 2,
            Lane::Anchor => self.workers + 2..self.workers + 3,
        }
    }

    /// The mailboxes of a lane.
    pub(in crate::hsm) fn mailboxes(self, lane: Lane) -> Range<usize> {
        let threads = self.threads(lane);
        threads.start * (1 + AHEAD)..threads.end * (1 + AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_and_every_mailbox_is_of_one_lane() {
        for workers in [0, 1, 8, 10_000] {
            let layout = Layout::new(workers);
            let threads: Vec<usize> = LANES.into_iter().flat_map(|lane| layout.threads(lane)).collect();
            assert_eq!(threads, (0..layout.all_threads()).collect::<Vec<_>>());
            let mailboxes: Vec<usize> = LANES.into_iter().flat_map(|lane| layout.mailboxes(lane)).collect();
            assert_eq!(mailboxes, (0..layout.all_mailboxes()).collect::<Vec<_>>());
        }
    }
}
