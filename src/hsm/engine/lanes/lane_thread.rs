//! A thread that owns a session: it takes orders from the shared memory, has them carried out, and puts the answers there.
//!
//! A C call cannot be cancelled. When the service gives one up, the lane gets another thread with another session. When the
//! stuck call returns after all, its thread sees that it has been replaced, closes its session and ends.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use cryptoki::session::Session;

use crate::hsm::engine::order::{Answer, Order, Reply, Work, decode, encode};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::{Lane, MAILBOX_BYTES, Moment, Turn};

use super::anchor::Anchor;
use super::core::Core;
use super::worker::Worker;

/// How long a thread sleeps at most. Whoever has something for it wakes it; this is for what nobody tells it.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// One thread with its session, or the one that has taken its place.
pub(super) struct LaneThread {
    pub(super) lane: Lane,
    /// Its number in the shared memory.
    pub(super) number: usize,
    generation: AtomicU64,
}

/// What a thread works with.
pub(super) struct ThreadContext<'a> {
    pub(super) core: &'a Core,
    pub(super) thread: &'a LaneThread,
    /// The generation in which the thread was started.
    generation: u64,
    mailboxes: Range<usize>,
}

/// An order that a thread has taken, and the mailbox that it came in.
pub(super) struct TakenOrder {
    mailbox: usize,
    turn: Turn,
}

/// What the threads of a lane do.
pub(super) trait ThreadRole {
    /// Carries an order out; `None` if another thread is to do it.
    fn carry_out(
        &mut self,
        context: &ThreadContext<'_>,
        taken: &TakenOrder,
        order: Order<'_>,
    ) -> Option<Result<Answer, HsmError>>;

    /// Does what nobody orders; true if the thread is to look for orders again before it sleeps.
    fn do_chores(&mut self, context: &ThreadContext<'_>) -> bool;

    /// True if there is something to do that nobody orders.
    fn has_chores(&self, context: &ThreadContext<'_>) -> bool;

    /// How long it may sleep, if it has something to look after.
    fn longest_sleep(&self) -> Duration {
        LONGEST_SLEEP
    }
}

impl LaneThread {
    pub(super) fn new(lane: Lane, number: usize) -> Arc<Self> {
        Arc::new(Self { lane, number, generation: AtomicU64::new(0) })
    }

    /// Starts the thread; without a session it opens its own when it needs one. `alive` is held for as long as it
    /// lives.
    pub(super) fn spawn(
        self: &Arc<Self>,
        core: &Arc<Core>,
        session: Option<Session>,
        alive: Sender<Infallible>,
    ) -> Result<(), HsmError> {
        let generation = self.generation.load(Ordering::Acquire);
        let (thread, core) = (Arc::clone(self), Arc::clone(core));
        let run = move || {
            let mailboxes = core.memory.layout().mailboxes(thread.lane);
            let context = ThreadContext { core: &core, thread: &thread, generation, mailboxes };
            match thread.lane {
                Lane::Anchor => context.serve(Anchor::new(&core, session)),
                Lane::Work | Lane::Slow | Lane::Writer => context.serve(Worker::new(session)),
            }
            // Its session, which nobody could count on, is free for another.
            core.sharing.recall();
            drop(alive);
        };
        let started = thread::Builder::new().name(self.name()).spawn(run);
        started.map(|_| ()).map_err(|error| HsmError::misconfigured("spawn", error.to_string()))
    }

    /// The thread does not count any more.
    pub(super) fn give_up(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn name(&self) -> String {
        match self.lane {
            Lane::Work => format!("hsm-{}", self.number),
            Lane::Slow => "hsm-slow".to_owned(),
            Lane::Writer => "hsm-writer".to_owned(),
            Lane::Anchor => "hsm-anchor".to_owned(),
        }
    }
}

impl ThreadContext<'_> {
    /// Does what is ordered until the engine stops or the thread has been replaced.
    fn serve(&self, mut role: impl ThreadRole) {
        let Core { memory, .. } = self.core;
        while self.may_go_on() {
            if role.do_chores(self) {
                continue;
            }
            let Some((mailbox, turn)) = memory.mailboxes().claim(self.mailboxes.clone(), self.thread.number) else {
                memory.bells().sleep_unless(self.thread.number, role.longest_sleep(), || self.is_called(&role));
                continue;
            };
            self.serve_one(&mut role, &TakenOrder { mailbox, turn });
        }
        if !self.is_ours() {
            self.core.lost.fetch_sub(1, Ordering::Relaxed);
            self.core.returned.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn may_go_on(&self) -> bool {
        !self.core.is_stopping() && self.is_ours()
    }

    fn is_called(&self, role: &impl ThreadRole) -> bool {
        !self.may_go_on() || self.core.memory.mailboxes().has_ready(self.mailboxes.clone()) || role.has_chores(self)
    }

    fn serve_one(&self, role: &mut impl ThreadRole, taken: &TakenOrder) {
        let began = Moment::now();
        self.core.memory.mailboxes().note_began(taken.mailbox, Some(began));
        let result = match self.read(taken) {
            Some(bytes) => match decode::<Order<'_>>(&bytes) {
                Ok(order) if order.deadline <= began => Some(Err(HsmError::timeout())),
                Ok(order) => role.carry_out(self, taken, order),
                Err(error) => Some(Err(HsmError::new(Kind::Bug, "order", error.to_string()))),
            },
            None => return,
        };
        match result {
            Some(result) => self.answer(taken, began, result),
            None => self.core.memory.mailboxes().give_back(taken.mailbox, taken.turn, self.thread.number),
        }
    }

    /// The order in the mailbox. If it is not there, the service has taken it back, or the memory is not as it was left.
    fn read(&self, taken: &TakenOrder) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let mailboxes = self.core.memory.mailboxes();
        let read = mailboxes.read(taken.mailbox, taken.turn);
        if read.is_err() && mailboxes.is_taken(taken.mailbox, taken.turn, self.thread.number) {
            self.core.is_corrupted.store(true, Ordering::SeqCst);
        }
        read.ok()
    }

    fn answer(&self, taken: &TakenOrder, began: Moment, result: Result<Answer, HsmError>) {
        let Core { memory, state, .. } = self.core;
        let reply = |result| encode(&Reply { began, ended: Moment::now(), epoch: state.epoch(), result });
        let too_long = || HsmError::nonsense("answer", "it is longer than any answer can be");
        let bytes = match reply(result) {
            Ok(bytes) if bytes.len() <= MAILBOX_BYTES => Ok(bytes),
            _ => reply(Err(too_long())),
        };
        // What cannot be written is not waited for.
        let Ok(bytes) = bytes else { return };
        if memory.mailboxes().answer(taken.mailbox, taken.turn, self.thread.number, &bytes) {
            memory.call_service();
        }
    }

    /// Waits for something that is not the HSM's to give, which the service must not take for a call that hangs.
    pub(super) fn aside<T>(&self, taken: &TakenOrder, wait: impl FnOnce() -> T) -> T {
        let mailboxes = self.core.memory.mailboxes();
        let note = |began| {
            if mailboxes.is_taken(taken.mailbox, taken.turn, self.thread.number) {
                mailboxes.note_began(taken.mailbox, began);
            }
        };
        note(None);
        let waited = wait();
        note(Some(Moment::now()));
        waited
    }

    /// True if the thread has not been replaced.
    pub(super) fn is_ours(&self) -> bool {
        self.thread.generation.load(Ordering::Acquire) == self.generation
    }
}

impl Order<'_> {
    /// When nobody waits for it any more.
    pub(super) fn until(&self) -> Instant {
        self.deadline.instant()
    }
}

/// The error of work that has come to the wrong lane.
pub(super) fn misdirected(_: Work<'_>) -> HsmError {
    HsmError::new(Kind::Bug, "lane", "the work is another lane's")
}
