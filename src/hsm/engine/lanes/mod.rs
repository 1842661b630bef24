//! The threads of an engine, each of which owns a session: the workers, the slow lane's, the writer's and the anchor's.

mod anchor;
mod core;
mod lane_thread;
mod session_sharing;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use cryptoki::session::Session;
use parking_lot::Mutex;

use crate::hsm::error::HsmError;
use crate::hsm::memory::{LANES, Lane, Memory};

use super::state::EngineState;
use core::Core;
use lane_thread::LaneThread;

/// For each worker, so many threads may be in calls that do not return. After that, none is started in their place.
const MAX_LOST: u64 = 4;

/// All threads of an engine.
pub(super) struct Lanes {
    core: Arc<Core>,
    threads: Vec<Arc<LaneThread>>,
    /// Every thread holds a copy. Nothing is sent: the other end sees when the last one has closed its session and ended.
    alive: Mutex<Option<Sender<Infallible>>>,
    ended: Receiver<Infallible>,
}

impl Lanes {
    /// Starts the threads; the anchor's has `anchor_session`, which is logged in.
    pub(super) fn start(state: EngineState, anchor_session: Session, memory: Memory) -> Result<Self, HsmError> {
        let layout = memory.layout();
        let (core, mut sessions) = Core::new(state, memory)?;
        let core = Arc::new(core);
        let (alive, ended) = bounded(0);
        let threads: Vec<_> = LANES
            .into_iter()
            .flat_map(|lane| layout.threads(lane).map(move |number| LaneThread::new(lane, number)))
            .collect();
        // The slow lane and the writer open theirs when they need one.
        sessions.resize_with(layout.threads(Lane::Anchor).start, || None);
        sessions.push(Some(anchor_session));
        for (thread, session) in threads.iter().zip(sessions) {
            thread.spawn(&core, session, alive.clone())?;
        }
        Ok(Self { core, threads, alive: Mutex::new(Some(alive)), ended })
    }

    pub(super) fn state(&self) -> &EngineState {
        &self.core.state
    }

    /// Starts another thread in the place of one whose call does not return.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) fn replace(&self, number: usize) -> Result<(), HsmError> {
        let Some(thread) = self.threads.get(number) else { return Ok(()) };
        tracing::error!(thread = thread.name(), "a call to the HSM does not return; its thread is given up");
        thread.give_up();
        if thread.lane == Lane::Anchor {
            self.core.state.end_epoch();
        }
        let lost = self.core.lost.fetch_add(1, Ordering::Relaxed) + 1;
        // Its call may have returned meanwhile.
        self.core.memory.bells().wake_one(number..number + 1);
        let alive = self.alive.lock().clone();
        match alive.filter(|_| lost <= MAX_LOST * self.core.state.settings.sessions.max(1) as u64) {
            Some(alive) => thread.spawn(&self.core, None, alive),
            None => Ok(()),
        }
    }

    /// Threads that were given up and are still in their calls.
    pub(super) fn lost(&self) -> u64 {
        self.core.lost.load(Ordering::Relaxed)
    }

    /// Threads that were given up and whose calls have returned after all.
    pub(super) fn returned(&self) -> u64 {
        self.core.returned.load(Ordering::Relaxed)
    }

    /// True if the memory is not as the service has left it.
    pub(super) fn is_corrupted(&self) -> bool {
        self.core.is_corrupted.load(Ordering::Relaxed)
    }

    /// Takes no more work. Threads end when they have done what they have; nobody waits for one that hangs.
    pub(super) fn stop(&self) {
        self.core.stop();
        self.alive.lock().take();
    }

    /// Waits, after `stop`, until every thread has closed its session; false if one has not by then, which is how a call
    /// that hangs looks.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        matches!(self.ended.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected))
    }
}
