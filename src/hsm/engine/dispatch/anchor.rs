//! The anchor: one thread and one session that hold the login and every leased object. The session is never lent, so
//! nothing that a worker's session suffers takes the login or the handles with it.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::key::material::Material;

use super::core::Core;
use super::lane_threads::{Generation, LaneThread};
use crate::hsm::engine::calls::objects::Loaded;
use crate::hsm::engine::calls::wrapping;
use crate::hsm::engine::handles::anchor_request::AnchorRequest;
use crate::hsm::engine::handles::cache::WantedHandle;
use crate::hsm::engine::handles::lease::{Half, HandleId, LeaseResult};
use crate::hsm::engine::state::login_session::LoginSession;
use crate::hsm::engine::token::login::Admission;
use crate::hsm::error::{HsmError, Kind};

/// How long a new session waits for the users of the last one's objects, who as a rule are done within a call.
const FAREWELL: Duration = Duration::from_millis(50);

/// How often it is looked whether the last user of an ended login's objects is done.
const TIDY_EVERY: Duration = Duration::from_millis(100);

struct Anchor<'a> {
    core: &'a Core,
    lane: &'a LaneThread,
    generation: Generation,
    /// `None` until it has been opened anew.
    login_session: Option<LoginSession>,
    /// Those of ended logins that somebody was still in.
    left: Vec<LoginSession>,
}

/// Does what is requested until it is told to stop or has been replaced.
pub(in crate::hsm) fn serve(
    core: &Core,
    lane: &LaneThread,
    generation: Generation,
    requests: &Receiver<AnchorRequest>,
    session: Option<Session>,
) {
    let login_session = session.map(|session| LoginSession { session, lock: core.state.lock() });
    let mut anchor = Anchor { core, lane, generation, login_session, left: Vec::new() };
    while let Some(request) = anchor.next(requests) {
        let now = Instant::now();
        let (want, deadline) = match &request {
            // It was made for another, or nobody waits for it any more: not worth a call.
            AnchorRequest::Make => match core.handles.next_want() {
                Some(want) => {
                    let deadline = want.deadline;
                    (Some(want), deadline)
                }
                None => continue,
            },
            AnchorRequest::LogIn { deadline, .. } => (None, *deadline),
            AnchorRequest::Destroy { .. } | AnchorRequest::Tidy => (None, now),
            AnchorRequest::Stop => return,
        };
        lane.begin(core, now, deadline);
        let failed = anchor.run(request, want, deadline);
        // One that has been replaced must not speak for its successor.
        if !lane.end(core, generation) {
            return;
        }
        if let Some(error) = failed {
            anchor.note(&error);
        }
    }
}

/// One that is replaced or stopped has all the time that the users of its objects need.
impl Drop for Anchor<'_> {
    fn drop(&mut self) {
        self.left.drain(..).chain(self.login_session.take()).for_each(LoginSession::close_when_unused);
    }
}

impl Anchor<'_> {
    /// Does a request, tells whoever asked, and returns the error if it failed.
    fn run(&mut self, request: AnchorRequest, want: Option<WantedHandle>, deadline: Instant) -> Option<HsmError> {
        self.close_left(Duration::ZERO);
        match request {
            AnchorRequest::Make => {
                let want = want?;
                let made = self.make(want.id, &want.material, deadline);
                let failed = made.as_ref().err().cloned();
                match failed.as_ref().map(|error| error.kind) {
                    Some(Kind::Full) if !want.is_second => self.core.handles.make_room(want),
                    _ => self.core.handles.put(want.id, made),
                }
                failed
            }
            AnchorRequest::Destroy { handle, epoch } => self.destroy(handle, epoch).err(),
            AnchorRequest::LogIn { seen, done, .. } => {
                let entered = self.log_in(seen, deadline);
                let failed = entered.as_ref().err().cloned();
                let _ = done.send(entered);
                failed
            }
            AnchorRequest::Tidy | AnchorRequest::Stop => None,
        }
    }

    /// Waits for a request, as long as there is none of its own.
    fn next(&self, requests: &Receiver<AnchorRequest>) -> Option<AnchorRequest> {
        if self.left.is_empty() {
            return requests.recv().ok();
        }
        match requests.recv_timeout(TIDY_EVERY) {
            Err(RecvTimeoutError::Timeout) => Some(AnchorRequest::Tidy),
            received => received.ok(),
        }
    }

    /// A session that ended in an unknown way takes all handles with it; it is closed when nobody uses its objects. An ambiguous
    /// code alone is no such end: a damaged blob must not cost everyone their handles.
    fn note(&mut self, error: &HsmError) {
        self.core.state.counts.note(error);
        let is_lost = matches!(error.kind, Kind::SessionLost | Kind::DeviceLost | Kind::Bug);
        let is_open = error.is_answer() && error.is_of_a_search();
        if (is_lost || is_open) && self.login_session.is_some() {
            tracing::warn!(%error, "the anchor session was lost, and all handles with it");
            self.move_out();
        }
    }

    fn move_out(&mut self) {
        self.core.end_epoch();
        self.left.extend(self.login_session.take());
    }

    fn make(&mut self, id: HandleId, material: &Material, deadline: Instant) -> LeaseResult {
        self.move_in(deadline)?;
        let LoginSession { session, lock } = self.login_session.as_ref().ok_or_else(HsmError::stopped)?;
        let loaded = self.load(session, id, material).map_err(|error| self.core.state.calls(session).explain(error))?;
        Ok(self.core.handles.lease(loaded.handle, loaded.ours, lock))
    }

    fn load(&self, session: &Session, id: HandleId, material: &Material) -> Result<Loaded, HsmError> {
        let calls = self.core.state.calls(session);
        let load = || match id.half {
            Half::Public => calls.load_public(material),
            Half::Secret => {
                let allowed = self.core.state.profile.allowed;
                calls.load_secret(material, allowed, |wanted| self.wrapping_key(session, wanted))
            }
        };
        match load() {
            // The handle of the wrapping key went stale; the key may still be there.
            Err(error) if error.kind == Kind::NoWrappingKey => {
                self.core.state.forget_wrapping_key();
                load()
            }
            loaded => loaded,
        }
    }

    fn wrapping_key(&self, session: &Session, wanted: &[u8]) -> Result<ObjectHandle, HsmError> {
        match self.core.state.wrapping_key(session)? {
            Some(key) if key.cka_id == wanted => Ok(key.handle),
            _ => wrapping::find_by_id(self.core.state.calls(session), wanted),
        }
    }

    fn destroy(&self, handle: ObjectHandle, epoch: u64) -> Result<(), HsmError> {
        // An object of an earlier epoch is gone, and its handle may by now be another object's.
        match &self.login_session {
            Some(login_session) if epoch == self.core.state.epoch() => {
                Ok(login_session.session.destroy_object(handle)?)
            }
            _ => Ok(()),
        }
    }

    fn log_in(&mut self, seen: u64, deadline: Instant) -> Result<(), HsmError> {
        if self.core.state.epoch() != seen {
            return Ok(());
        }
        tracing::warn!("logging in to the HSM again, as if for the first time");
        // To a new session: what objects the old one still has, nobody has a handle of.
        self.move_out();
        self.move_in(deadline)
    }

    fn close_left(&mut self, patience: Duration) {
        self.left = self.left.drain(..).filter_map(|login_session| login_session.close(patience)).collect();
    }

    fn move_in(&mut self, deadline: Instant) -> Result<(), HsmError> {
        if self.login_session.is_none() {
            self.close_left(FAREWELL);
            let login_session = LoginSession::new(self.core.insist_on_session(deadline)?, self.core.state.epoch());
            let ask = || Admission::ask(&self.core.state.settings);
            // Until then others log in, to other HSMs perhaps.
            let admission = self.lane.aside(self.core, self.generation, deadline, ask)?;
            self.core.state.enter(&login_session, admission)?;
            self.login_session = Some(login_session);
        }
        Ok(())
    }
}
