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

/// For each worker, so many threads may be in calls that do not return. After that, places are left empty.
const MAX_LOST: u64 = 4;

/// All threads of an engine.
pub(super) struct Lanes {
    core: Arc<Core>,
    places: Vec<Arc<LaneThread>>,
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
        let places: Vec<_> = LANES
            .into_iter()
            .flat_map(|lane| layout.threads(lane).map(move |number| LaneThread::new(lane, number)))
            .collect();
        // The slow lane and the writer open theirs when they need one.
        sessions.resize_with(layout.threads(Lane::Anchor).start, || None);
        sessions.push(Some(anchor_session));
        for (place, session) in places.iter().zip(sessions) {
            place.spawn(&core, session, alive.clone())?;
        }
        Ok(Self { core, places, alive: Mutex::new(Some(alive)), ended })
    }

    pub(super) fn state(&self) -> &EngineState {
        &self.core.state
    }

    /// Starts another thread in the place of one whose call does not return.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) fn replace(&self, thread: usize) -> Result<(), HsmError> {
        let Some(place) = self.places.get(thread) else { return Ok(()) };
        tracing::error!(thread = place.name(), "a call to the HSM does not return; its thread is given up");
        place.give_up();
        if place.lane == Lane::Anchor {
            self.core.state.end_epoch();
        }
        let lost = self.core.lost.fetch_add(1, Ordering::Relaxed) + 1;
        // Its call may have returned meanwhile.
        self.core.memory.bells().wake_one(thread..thread + 1);
        let alive = self.alive.lock().clone();
        match alive.filter(|_| lost <= MAX_LOST * self.core.state.settings.sessions.max(1) as u64) {
            Some(alive) => place.spawn(&self.core, None, alive),
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
    pub(super) fn is_spoiled(&self) -> bool {
        self.core.is_spoiled.load(Ordering::Relaxed)
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
