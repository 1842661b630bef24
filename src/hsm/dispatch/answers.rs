//! The taking of answers out of the shared memory: one task, which is called once for all that are there.

use tokio::net::unix::pipe::Receiver;

use super::Dispatcher;
use crate::hsm::memory::Corrupted;

impl Dispatcher {
    /// Takes answers whenever the worker process calls, until it is gone or is to be replaced.
    pub(super) async fn take_answers(&self, called: Receiver) {
        while called.readable().await.is_ok() {
            // An error says that there is no call yet.
            if called.try_read(&mut [0; 16]).is_ok_and(|bytes| bytes == 0) {
                return;
            }
            if let Err(Corrupted) = self.take_all().await {
                self.end_corrupted_process();
                return;
            }
        }
    }

    /// Takes all answers, also those that come meanwhile.
    async fn take_all(&self) -> Result<(), Corrupted> {
        loop {
            while self.take_those_there()? {
                // Those who were answered go on, and others answer without calling.
                tokio::task::yield_now().await;
            }
            self.memory.bells().answer_call();
            // Who answered before that has not called again.
            if !self.take_those_there()? {
                return Ok(());
            }
        }
    }

    pub(super) fn take_those_there(&self) -> Result<bool, Corrupted> {
        self.lanes.iter().try_fold(false, |any, lane| Ok(lane.reap(&self.memory)? || any))
    }
}
