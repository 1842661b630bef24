//! Leases, on the service's side: while somebody holds one, the worker process keeps the handle.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hsm::engine::leases::LeaseNumber;
use crate::hsm::error::HsmError;

/// The right to use a handle for as long as one holds this.
pub(super) struct Lease {
    pub(super) number: LeaseNumber,
    released: Arc<Released>,
}

pub(super) type LeaseResult = Result<Arc<Lease>, HsmError>;

/// The leases that nobody holds any more, and the bell of whoever tells the worker process.
#[derive(Default)]
pub(super) struct Released {
    numbers: Mutex<Vec<LeaseNumber>>,
    pub(super) bell: Notify,
}

impl Lease {
    pub(super) fn new(number: LeaseNumber, released: &Arc<Released>) -> Arc<Self> {
        Arc::new(Self { number, released: Arc::clone(released) })
    }
}

impl Released {
    /// The next of them, up to so many.
    pub(super) fn take(&self, most: usize) -> Vec<LeaseNumber> {
        let mut numbers = self.numbers.lock();
        let most = most.min(numbers.len());
        numbers.drain(..most).collect()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.released.numbers.lock().push(self.number);
        self.released.bell.notify_one();
    }
}
