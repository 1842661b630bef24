//! The anchor: one thread and one session that hold the login and every leased object. The session is never lent, so
//! nothing that a worker's session suffers takes the login or the handles with it.

use std::time::{Duration, Instant};

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::hsm::engine::calls::objects::Loaded;
use crate::hsm::engine::calls::wrapping;
use crate::hsm::engine::command::Half;
use crate::hsm::engine::leases::LeaseNumber;
use crate::hsm::engine::leases::UnusedObject;
use crate::hsm::engine::order::{AnchorWork, Answer, Order, Work};
use crate::hsm::engine::state::login_session::LoginSession;
use crate::hsm::engine::token::login::Admission;
use crate::hsm::error::{HsmError, Kind};
use crate::key::material::Material;

use super::core::Core;
use super::lane_thread::{LONGEST_SLEEP, TakenOrder, ThreadContext, ThreadRole, misdirected};

/// How long a new session waits for the users of the last one's objects, who as a rule are done within a call.
const FAREWELL: Duration = Duration::from_millis(50);

/// How often it is looked whether the last user of an ended login's objects is done.
const TIDY_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Anchor {
    /// `None` until it has been opened anew.
    login_session: Option<LoginSession>,
    /// Those of ended logins that somebody was still in.
    left: Vec<LoginSession>,
}

/// One that is replaced or stopped has all the time that the users of its objects need.
impl Drop for Anchor {
    fn drop(&mut self) {
        self.left.drain(..).chain(self.login_session.take()).for_each(LoginSession::close_when_unused);
    }
}

impl ThreadRole for Anchor {
    fn carry_out(
        &mut self,
        context: &ThreadContext<'_>,
        taken: &TakenOrder,
        order: Order<'_>,
    ) -> Option<Result<Answer, HsmError>> {
        let deadline = order.until();
        let (released, work) = match order.work {
            Work::Anchor { released, work } => (released, work),
            other => return Some(Err(misdirected(other))),
        };
        self.close_left(Duration::ZERO);
        released.into_iter().for_each(|number| context.core.leases.give_back(number));
        self.destroy_unused(context);
        let done = match work {
            AnchorWork::Nothing => Ok(()),
            AnchorWork::Load { lease, half, material } => self.load(context, taken, deadline, (lease, half, &material)),
            AnchorWork::LogIn { seen } => self.log_in(context, taken, seen, deadline),
        };
        // One that has been replaced must not speak for its successor.
        if let Err(error) = &done
            && context.is_ours()
        {
            self.note(context.core, error);
        }
        Some(done.map(|()| Answer::Done))
    }

    fn do_chores(&mut self, context: &ThreadContext<'_>) -> bool {
        self.close_left(Duration::ZERO);
        self.destroy_unused(context);
        false
    }

    fn has_chores(&self, _: &ThreadContext<'_>) -> bool {
        false
    }

    fn longest_sleep(&self) -> Duration {
        if self.left.is_empty() { LONGEST_SLEEP } else { TIDY_EVERY }
    }
}

impl Anchor {
    pub(super) fn new(core: &Core, session: Option<Session>) -> Self {
        let login_session = session.map(|session| LoginSession { session, lock: core.state.lock() });
        Self { login_session, left: Vec::new() }
    }

    /// A session that ended in an unknown way takes all handles with it; it is closed when nobody uses its objects. An ambiguous
    /// code alone is no such end: a damaged blob must not cost everyone their handles.
    fn note(&mut self, core: &Core, error: &HsmError) {
        let is_lost = matches!(error.kind, Kind::SessionLost | Kind::DeviceLost | Kind::Bug);
        let is_open = error.is_answer() && error.is_of_a_search();
        if (is_lost || is_open) && self.login_session.is_some() {
            tracing::warn!(%error, "the anchor session was lost, and all handles with it");
            self.move_out(core);
        }
    }

    fn move_out(&mut self, core: &Core) {
        core.state.end_epoch();
        self.left.extend(self.login_session.take());
    }

    fn load(
        &mut self,
        context: &ThreadContext<'_>,
        taken: &TakenOrder,
        deadline: Instant,
        (number, half, material): (LeaseNumber, Half, &Material),
    ) -> Result<(), HsmError> {
        self.move_in(context, taken, deadline)?;
        let LoginSession { session, lock } = self.login_session.as_ref().ok_or_else(HsmError::stopped)?;
        let state = &context.core.state;
        let loaded = has_loaded(context.core, session, half, material);
        let Loaded { handle, ours } = loaded.map_err(|error| state.calls(session).explain(error))?;
        context.core.leases.put(number, handle, ours, lock);
        Ok(())
    }

    /// Destroys what no lease is of any more. What cannot be destroyed now goes with the session.
    fn destroy_unused(&mut self, context: &ThreadContext<'_>) {
        while let Some(UnusedObject { handle, epoch }) = context.core.leases.next_unused() {
            // An object of an earlier epoch is gone, and its handle may by now be another object's.
            let Some(login_session) = self.login_session.as_ref().filter(|_| epoch == context.core.state.epoch())
            else {
                continue;
            };
            let destroyed = login_session.session.destroy_object(handle).map_err(HsmError::from);
            if let Err(error) = destroyed {
                context.core.state.counts.note(&error);
                self.note(context.core, &error);
            }
        }
    }

    fn log_in(
        &mut self,
        context: &ThreadContext<'_>,
        taken: &TakenOrder,
        seen: u64,
        deadline: Instant,
    ) -> Result<(), HsmError> {
        if context.core.state.epoch() != seen {
            return Ok(());
        }
        tracing::warn!("logging in to the HSM again, as if for the first time");
        // To a new session: what objects the old one still has, nobody has a handle of.
        self.move_out(context.core);
        self.move_in(context, taken, deadline)
    }

    fn close_left(&mut self, patience: Duration) {
        self.left = self.left.drain(..).filter_map(|login_session| login_session.close(patience)).collect();
    }

    fn move_in(&mut self, context: &ThreadContext<'_>, taken: &TakenOrder, deadline: Instant) -> Result<(), HsmError> {
        if self.login_session.is_none() {
            self.close_left(FAREWELL);
            let state = &context.core.state;
            let login_session = LoginSession::new(context.core.insist_on_session(deadline)?, state.epoch());
            // Until then others log in, to other HSMs perhaps.
            let admission = context.aside(taken, || Admission::ask(&state.settings))?;
            state.enter(&login_session, admission)?;
            self.login_session = Some(login_session);
        }
        Ok(())
    }
}

fn has_loaded(core: &Core, session: &Session, half: Half, material: &Material) -> Result<Loaded, HsmError> {
    let calls = core.state.calls(session);
    let load = || match half {
        Half::Public => calls.load_public(material),
        Half::Secret => {
            calls.load_secret(material, core.state.profile.allowed, |wanted| wrapping_key(core, session, wanted))
        }
    };
    match load() {
        // The handle of the wrapping key went stale; the key may still be there.
        Err(error) if error.kind == Kind::NoWrappingKey => {
            core.state.forget_wrapping_key();
            load()
        }
        loaded => loaded,
    }
}

fn wrapping_key(core: &Core, session: &Session, wanted: &[u8]) -> Result<ObjectHandle, HsmError> {
    match core.state.wrapping_key(session)? {
        Some(key) if key.cka_id == wanted => Ok(key.handle),
        _ => wrapping::find_by_id(core.state.calls(session), wanted),
    }
}
