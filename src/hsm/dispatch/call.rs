//! A call on its way to a thread of the worker process, and how it came to an end.

use std::sync::Arc;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::lease::Lease;
use crate::fair_queue::{CostClass, Queued};
use crate::hsm::error::HsmError;
use crate::hsm::memory::Moment;
use crate::identity::Asker;

/// The bytes of a reply, or why there is none.
pub(super) type Outcome = Result<Zeroizing<Vec<u8>>, HsmError>;

/// An order that waits for its reply.
pub(super) struct Call {
    /// For whom it is done.
    asker: Asker,
    pub(super) class: CostClass,
    /// When nobody waits for it any more.
    pub(super) deadline: Moment,
    /// The handle that it is done with, which is kept until it has ended.
    _lease: Option<Arc<Lease>>,
    /// The order, as it is sent.
    pub(super) order: Zeroizing<Vec<u8>>,
    outcome: oneshot::Sender<Outcome>,
}

impl Queued for Call {
    fn asker(&self) -> Asker {
        self.asker
    }

    fn class(&self) -> CostClass {
        self.class
    }
}

impl Call {
    /// An order for this asker, and where its reply comes.
    pub(super) fn new(
        (asker, class): (Asker, CostClass),
        deadline: Moment,
        lease: Option<Arc<Lease>>,
        order: Zeroizing<Vec<u8>>,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (outcome, reply) = oneshot::channel();
        (Self { asker, class, deadline, _lease: lease, order, outcome }, reply)
    }

    /// Tells whoever waits.
    pub(super) fn end(self, outcome: Outcome) {
        // Who no longer waits is not told; the reply is overwritten with zeros.
        let _ = self.outcome.send(outcome);
    }

    /// True if nobody waits for it.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.deadline <= now || self.outcome.is_closed()
    }
}
