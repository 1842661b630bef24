//! Calls to an HSM that do not return.
//!
//! A C call cannot be cancelled. One that outlives its deadline costs its caller an error at once and, if it goes on and on,
//! the worker process a thread: the place is given to another thread with another session.

use std::time::Duration;

use tokio::sync::watch;

use super::Dispatcher;
use crate::hsm::memory::{Corrupted, LANES, Lane};

/// How often it is looked when nobody calls.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// How long a call may last before it is given up, however near its deadline it began. A new anchor costs all handles; of the
/// slow calls, RSA-4096 generation takes seconds on a fast HSM.
pub(super) fn patience(lane: Lane) -> Duration {
    match lane {
        Lane::Work => Duration::from_millis(250),
        Lane::Anchor => Duration::from_secs(2),
        Lane::Slow | Lane::Writer => Duration::from_secs(30),
    }
}

impl Dispatcher {
    /// Looks after calls that do not return, and answers of which nobody has told, until the memory is to be given up.
    pub(super) async fn watch_hangs(&self) {
        loop {
            // Either way it is looked.
            let _ = tokio::time::timeout(WATCH_PERIOD, self.overdue.notified()).await;
            if self.look().is_err() {
                self.end_corrupted_process();
                return;
            }
        }
    }

    fn look(&self) -> Result<(), Corrupted> {
        self.memory.bells().answer_call();
        self.take_those_there()?;
        for (lane, queue) in LANES.into_iter().zip(&self.lanes) {
            for thread in queue.look(&self.memory)? {
                self.replace(lane, thread);
            }
        }
        Ok(())
    }

    fn replace(&self, lane: Lane, thread: usize) {
        self.process.replace(thread);
        self.replaced.send_modify(|replaced| *replaced += 1);
        if lane == Lane::Anchor {
            self.handles.reset();
        }
    }
}

/// Watches for calls that do not return.
pub(in crate::hsm) struct HangWatch {
    all: watch::Receiver<u64>,
    seen: u64,
}

impl HangWatch {
    pub(super) fn new(all: watch::Receiver<u64>) -> Self {
        Self { all, seen: 0 }
    }

    /// Waits until there are more; how many.
    pub(in crate::hsm) async fn more(&mut self) -> u64 {
        let seen = self.seen;
        match self.all.wait_for(|all| *all > seen).await.map(|all| *all) {
            Ok(all) => all - std::mem::replace(&mut self.seen, all),
            // The engine is gone.
            Err(_) => std::future::pending().await,
        }
    }
}
