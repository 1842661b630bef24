//! The data that the threads of an engine share: its state, the cached handles, the queue of the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use cryptoki::session::Session;

use crate::hsm::engine::handles::anchor_request::AnchorRequest;
use crate::hsm::engine::handles::cache::Handles;
use crate::hsm::engine::state::EngineState;
use crate::hsm::error::{HsmError, Kind};

use super::queue::Queue;

/// How long a lane waits before it asks the token for a session again.
const SESSION_PAUSE: Duration = Duration::from_millis(20);

/// Sessions beside the workers': the anchor's, the writer's and the one in which it sees that an object is gone, that of
/// slow calls.
pub(super) const OTHER_SESSIONS: usize = 4;

/// The data that the threads of an engine share.
pub(in crate::hsm) struct Core {
    pub(super) state: EngineState,
    pub(super) handles: Handles,
    /// The queue of the workers.
    pub(super) work: Arc<Queue>,
}

impl Core {
    pub(super) fn new(state: EngineState, anchor: Sender<AnchorRequest>) -> Self {
        let handles = Handles::new(state.settings.cached_handles, anchor);
        let work = Arc::new(Queue::new(state.settings.queue.max(1), workers(&state)));
        Self { state, handles, work }
    }

    /// Opens a session for a lane that nobody can stand in for: a worker gives up its own for it if need be.
    pub(super) fn insist_on_session(&self, deadline: Instant) -> Result<Session, HsmError> {
        loop {
            match self.state.open_session() {
                Err(error) if error.kind == Kind::Busy && self.may_wait(deadline) => {
                    self.work.spare_one();
                    thread::sleep(SESSION_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn may_wait(&self, deadline: Instant) -> bool {
        Instant::now() + SESSION_PAUSE < deadline && !self.state.stopping.load(Ordering::Relaxed)
    }

    /// Ends an epoch: every handle made so far is refused from now on.
    pub(super) fn end_epoch(&self) {
        self.state.end_epoch();
        self.handles.reset();
    }
}

/// As many workers as are wanted and the token allows, if it tells.
fn workers(state: &EngineState) -> usize {
    let wanted = state.settings.sessions.max(1);
    let told = state.profile.max_sessions.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    told.map_or(wanted, |max| wanted.min(max.saturating_sub(OTHER_SESSIONS).max(1)))
}
