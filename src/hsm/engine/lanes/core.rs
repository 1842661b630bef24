//! What the threads of an engine share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::session::Session;

use crate::hsm::engine::leases::Leases;
use crate::hsm::engine::state::EngineState;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::{Lane, Memory};

use super::session_sharing::SessionSharing;

/// How long a lane waits before it asks the token for a session again.
const SESSION_PAUSE: Duration = Duration::from_millis(20);

/// Sessions beside the workers': the anchor's, the writer's and the one in which it sees that an object is gone, that of
/// slow calls.
const OTHER_SESSIONS: usize = 4;

/// What the threads of an engine share: its state, the leases, the memory through which commands come.
pub(in crate::hsm) struct Core {
    pub(super) state: EngineState,
    pub(super) memory: Memory,
    pub(super) leases: Leases,
    pub(super) sharing: SessionSharing,
    pub(super) stopping: AtomicBool,
    /// Threads that were given up and are still in their calls.
    pub(super) lost: AtomicU64,
    /// Threads that were given up and whose calls have returned after all.
    pub(super) returned: AtomicU64,
    /// True if the memory is not as the service has left it.
    pub(super) is_corrupted: AtomicBool,
}

impl Core {
    /// The core, and a session for each worker, as far as the token has them. When it refuses the next one, some are closed
    /// again: the other lanes need theirs, too.
    pub(super) fn new(state: EngineState, memory: Memory) -> Result<(Self, Vec<Option<Session>>), HsmError> {
        let workers = memory.layout().threads(Lane::Work).len();
        let sessions = open_sessions(&state, workers)?;
        let sharing = SessionSharing::new(sessions.iter().map(Option::is_none).collect());
        let core = Self {
            state,
            memory,
            leases: Leases::new(),
            sharing,
            stopping: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            is_corrupted: AtomicBool::new(false),
        };
        Ok((core, sessions))
    }

    /// Opens a session for a lane that nobody can stand in for: a worker gives up its own for it if need be.
    pub(super) fn insist_on_session(&self, deadline: Instant) -> Result<Session, HsmError> {
        loop {
            match self.state.open_session() {
                Err(error) if error.kind == Kind::Busy && self.may_wait(deadline) => {
                    self.sharing.spare_one();
                    self.memory.bells().wake_one(self.memory.layout().threads(Lane::Work));
                    thread::sleep(SESSION_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn may_wait(&self, deadline: Instant) -> bool {
        Instant::now() + SESSION_PAUSE < deadline && !self.is_stopping()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Takes no more commands. Threads end when they have done what they have.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.sharing.end();
        self.memory.bells().wake_all(0..self.memory.layout().all_threads());
    }
}

fn open_sessions(state: &EngineState, workers: usize) -> Result<Vec<Option<Session>>, HsmError> {
    let told = state.profile.max_sessions.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let wanted = workers.min(told.saturating_sub(OTHER_SESSIONS).max(1));
    let mut sessions = Vec::new();
    while sessions.len() < wanted {
        match state.open_session() {
            Ok(session) => sessions.push(Some(session)),
            Err(error) if sessions.is_empty() => return Err(error),
            Err(_) => {
                // The anchor has its own already.
                sessions.truncate(sessions.len().saturating_sub(OTHER_SESSIONS - 1).max(1));
                break;
            }
        }
    }
    sessions.resize_with(workers, || None);
    Ok(sessions)
}
