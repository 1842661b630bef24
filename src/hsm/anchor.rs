//! The anchor: one thread and one session that hold the login and every leased object. The session is never lent, so
//! nothing that a worker's session suffers takes the login or the handles with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};
use tokio::sync::oneshot;

use crate::key::material::Material;

use super::engine::Engine;
use super::error::{HsmError, Kind};
use super::handles::{Half, HandleId, LeaseResult};
use super::objects::Loaded;
use super::pool::{Lane, Shift};
use super::wrapping;

/// What the anchor is asked to do.
pub(super) enum Errand {
    /// Make a handle and put it into the cache.
    Make { id: HandleId, material: Arc<Material>, deadline: Instant },
    /// Nobody holds this handle any more.
    Destroy { handle: ObjectHandle, epoch: u64 },
    /// The token forgot the login of epoch `seen`; log in, unless it has been done since.
    LogIn { seen: u64, deadline: Instant, done: oneshot::Sender<Result<(), HsmError>> },
    /// All workers have ended.
    Stop,
}

/// Nobody waits for a destruction; it is overdue when the HSM must be stuck.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(10);

struct Anchor<'a> {
    engine: &'a Engine,
    /// `None` until it has been opened anew.
    session: Option<Session>,
}

/// Runs errands until it is told to stop or has been replaced.
pub(super) fn serve(engine: &Engine, lane: &Lane, shift: Shift, errands: &Receiver<Errand>, session: Option<Session>) {
    let mut anchor = Anchor { engine, session };
    while let Ok(errand) = errands.recv() {
        let deadline = match &errand {
            Errand::Make { deadline, .. } | Errand::LogIn { deadline, .. } => *deadline,
            Errand::Destroy { .. } => Instant::now() + DESTROY_TIMEOUT,
            Errand::Stop => return,
        };
        lane.begin(engine, deadline);
        anchor.run(errand);
        if !lane.end(engine, shift) {
            return;
        }
    }
}

impl Anchor<'_> {
    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Make { id, material, .. } => {
                if self.engine.handles.is_wanted(id) {
                    let made = self.make(id, &material);
                    self.note(made.as_ref().err());
                    self.engine.handles.put(id, made);
                }
            }
            Errand::Destroy { handle, epoch } => self.destroy(handle, epoch),
            Errand::LogIn { seen, done, .. } => {
                let entered = self.log_in(seen);
                self.note(entered.as_ref().err());
                let _ = done.send(entered);
            }
            Errand::Stop => {}
        }
    }

    /// A session that ended in an unknown way takes all handles with it.
    fn note(&mut self, error: Option<&HsmError>) {
        let Some(error) = error else { return };
        self.engine.counts.note(error);
        if matches!(error.kind, Kind::SessionLost | Kind::DeviceLost | Kind::Bug) && self.session.take().is_some() {
            tracing::warn!(%error, "the anchor session was lost, and all handles with it");
            self.engine.end_epoch();
        }
    }

    fn make(&mut self, id: HandleId, material: &Material) -> LeaseResult {
        self.ensure_session()?;
        let epoch = self.engine.epoch();
        let session = self.session.as_ref().ok_or_else(HsmError::stopped)?;
        let loaded = self.load(session, id, material).map_err(|error| explain(session, error))?;
        Ok(self.engine.handles.lease(loaded.handle, loaded.ours, epoch))
    }

    fn load(&self, session: &Session, id: HandleId, material: &Material) -> Result<Loaded, HsmError> {
        let line = self.engine.line(session);
        let load = || match id.half {
            Half::Public => line.load_public(material),
            Half::Secret => line.load_secret(material, |wanted| self.wrapping_key(session, wanted)),
        };
        match load() {
            // The handle of the wrapping key went stale; the key may still be there.
            Err(error) if error.kind == Kind::NoWrappingKey => {
                self.engine.forget_wrapping_key();
                load()
            }
            loaded => loaded,
        }
    }

    fn wrapping_key(&self, session: &Session, wanted: &[u8]) -> Result<ObjectHandle, HsmError> {
        match self.engine.wrapping_key(session)? {
            Some(key) if key.cka_id == wanted => Ok(key.handle),
            _ => wrapping::find_by_id(session, wanted),
        }
    }

    fn destroy(&self, handle: ObjectHandle, epoch: u64) {
        // An object of an earlier epoch is gone, and its handle may by now be another object's.
        if let Some(session) = self.session.as_ref().filter(|_| epoch == self.engine.epoch())
            && let Err(error) = session.destroy_object(handle)
        {
            self.engine.counts.note(&error.into());
        }
    }

    fn log_in(&mut self, seen: u64) -> Result<(), HsmError> {
        if self.engine.epoch() != seen {
            return Ok(());
        }
        tracing::warn!("the HSM forgot our login; logging in again");
        self.engine.end_epoch();
        // A new session: what objects the old one still has, nobody has a handle of.
        self.session = None;
        self.ensure_session()
    }

    fn ensure_session(&mut self) -> Result<(), HsmError> {
        if self.session.is_none() {
            let session = self.engine.module.open(self.engine.slot)?;
            self.engine.enter(&session)?;
            self.session = Some(session);
        }
        Ok(())
    }
}

/// To one who is not logged in, private objects are not there. Only after a failure is it worth asking.
fn explain(session: &Session, error: HsmError) -> HsmError {
    if !matches!(error.kind, Kind::KeyMissing | Kind::NoWrappingKey) {
        return error;
    }
    match session.get_session_info().map(|info| info.session_state()) {
        Ok(SessionState::RwUser | SessionState::RoUser) => error,
        Ok(_) => HsmError::new(Kind::LoggedOut, "C_GetSessionInfo", "the token forgot our login"),
        Err(error) => error.into(),
    }
}
