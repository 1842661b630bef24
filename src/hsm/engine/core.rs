//! What all threads of the engine share: the token, the login's epoch, the handle cache, the counts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::ErrorCount;
use super::capability::Profile;
use super::crypto::Line;
use super::handles::Handles;
use super::home::{Door, Home};
use super::queue::Queue;
use super::templates::{self, AES, Allowed, Life};
use super::token::{self, Admission, Module};
use super::wrapping::{self, WrappingKey};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::settings::Settings;

/// Different (function, code) pairs that are counted apart; vendors have 2^31 codes.
const MAX_COUNTED: usize = 256;

/// How long a lane waits before it asks the token for a session again.
const SESSION_PAUSE: Duration = Duration::from_millis(20);

/// Sessions beside the workers': the anchor's, the writer's and the one in which it sees that an object is gone, that of
/// slow calls.
pub(super) const OTHER_SESSIONS: usize = 4;

const KNOWN_ANSWER: &[u8] = b"strongroom known answer";

/// The epoch of the login that an engine starts with.
pub(super) const FIRST_EPOCH: u64 = 0;

pub(in crate::hsm) struct Core {
    pub(super) settings: Settings,
    pub(super) module: Module,
    pub(super) slot: Slot,
    pub(super) profile: Arc<Profile>,
    pub(super) handles: Handles,
    pub(super) counts: Counts,
    /// What waits for the workers.
    pub(super) work: Arc<Queue>,
    /// Whether the token has refused a session and none was had since.
    is_short: AtomicBool,
    pub(super) stopping: AtomicBool,
    start: Instant,
    /// Grows with each login: see `Door`.
    epoch: AtomicU64,
    standing: RwLock<Standing>,
    /// The latest start of an operation that then succeeded: see `doubt`.
    latest_success: AtomicU64,
}

/// Numbers for the metrics.
#[derive(Default)]
pub(super) struct Counts {
    errors: Mutex<HashMap<(Cow<'static, str>, String), u64>>,
    /// Calls that ended after their deadline.
    pub(super) late: AtomicU64,
    /// Threads that were given up because a call did not return, so far.
    pub(super) replaced: watch::Sender<u64>,
    /// Those of them that are still in their call.
    pub(super) lost: AtomicU64,
}

/// What a login comes with; made new with each.
#[derive(Clone)]
pub(super) struct Standing {
    wrapping: Option<WrappingKey>,
    canary: Canary,
}

/// A session key of this process and a ciphertext whose plaintext is known.
#[derive(Clone)]
struct Canary {
    door: Arc<Door>,
    key: ObjectHandle,
    iv: [u8; 12],
    ciphertext: Vec<u8>,
}

impl Core {
    pub(super) fn new(
        settings: Settings,
        module: Module,
        slot: Slot,
        profile: Profile,
        handles: Handles,
        standing: Standing,
    ) -> Self {
        let workers = workers(&settings, &profile);
        Self {
            work: Arc::new(Queue::new(settings.queue.max(1), workers)),
            is_short: AtomicBool::new(false),
            settings,
            module,
            slot,
            profile: Arc::new(profile),
            handles,
            counts: Counts::default(),
            stopping: AtomicBool::new(false),
            start: Instant::now(),
            epoch: AtomicU64::new(FIRST_EPOCH),
            standing: RwLock::new(standing),
            latest_success: AtomicU64::new(0),
        }
    }

    pub(super) fn line<'a>(&'a self, session: &'a Session) -> Line<'a> {
        Line { calls: &self.module.calls, session }
    }

    /// Opens a session beside those that the engine has.
    pub(super) fn open_session(&self) -> Result<Session, HsmError> {
        let opened = self.module.open_another(self.slot);
        match &opened {
            Ok(_) => self.is_short.store(false, Ordering::Relaxed),
            Err(error) if error.kind == Kind::Busy && !self.is_short.swap(true, Ordering::Relaxed) => {
                let wanted = self.settings.sessions;
                tracing::warn!(%error, wanted, "the HSM has no session left; fewer workers do the work");
            }
            Err(_) => {}
        }
        opened
    }

    /// The same for a lane that nobody can stand in for: a worker gives up its session for it if need be.
    pub(super) fn insist_on_session(&self, deadline: Instant) -> Result<Session, HsmError> {
        loop {
            match self.open_session() {
                Err(error) if error.kind == Kind::Busy && self.may_wait(deadline) => {
                    self.work.spare_one();
                    thread::sleep(SESSION_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn may_wait(&self, deadline: Instant) -> bool {
        Instant::now() + SESSION_PAUSE < deadline && !self.stopping.load(Ordering::Relaxed)
    }

    /// Nanoseconds since the engine started, never 0.
    pub(super) fn ticks(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn note_success(&self, started: u64) {
        self.latest_success.fetch_max(started, Ordering::Relaxed);
    }

    /// Whether an operation that started after `ticks` has succeeded.
    pub(super) fn has_succeeded_since(&self, ticks: u64) -> bool {
        self.latest_success.load(Ordering::Relaxed) > ticks
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The way to the objects of the last login.
    pub(super) fn door(&self) -> Arc<Door> {
        self.standing().canary.door
    }

    fn standing(&self) -> Standing {
        self.standing.read().clone()
    }

    /// Ends an epoch: every handle made so far is refused from now on.
    pub(super) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.handles.reset();
    }

    /// Logs in with the session of `home` and makes what comes with a login. The epoch that it ends must have been ended
    /// before.
    pub(super) fn enter(&self, home: &Home, mut admission: Admission) -> Result<(), HsmError> {
        token::log_in(&self.module, self.slot, &home.session, &self.settings, &mut admission)?;
        drop(admission);
        let entered = Standing::take(home, &self.module, &self.settings, self.profile.allowed);
        *self.standing.write() = entered?;
        Ok(())
    }

    /// The wrapping key, looked for again if it was not there: the operator may have made it since.
    pub(super) fn wrapping_key(&self, session: &Session) -> Result<Option<WrappingKey>, HsmError> {
        if let Some(key) = self.standing().wrapping {
            return Ok(Some(key));
        }
        let found = wrapping::find(self.line(session), &self.settings.wrapping_key_label)?;
        self.standing.write().wrapping.clone_from(&found);
        Ok(found)
    }

    pub(super) fn has_wrapping_key(&self) -> bool {
        self.standing.read().wrapping.is_some()
    }

    /// Handles of wrapping keys are kept too; this one did not work.
    pub(super) fn forget_wrapping_key(&self) {
        self.standing.write().wrapping = None;
    }

    /// Decrypts the known answer.
    pub(super) fn check(&self, line: Line<'_>) -> Result<(), HsmError> {
        let Canary { door, key, iv, ciphertext } = self.standing().canary;
        let _guest = door.enter(|| self.epoch())?;
        Line::is_same(KNOWN_ANSWER, &line.open(key, iv, b"", &ciphertext)?)
    }
}

/// As many workers as are wanted and the token allows, if it tells.
fn workers(settings: &Settings, profile: &Profile) -> usize {
    let wanted = settings.sessions.max(1);
    let told = profile.max_sessions.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    told.map_or(wanted, |max| wanted.min(max.saturating_sub(OTHER_SESSIONS).max(1)))
}

impl Standing {
    /// What comes with the login that the session of `home` has.
    pub(super) fn take(home: &Home, module: &Module, settings: &Settings, allowed: Allowed) -> Result<Self, HsmError> {
        let line = Line { calls: &module.calls, session: &home.session };
        let wrapping = wrapping::find(line, &settings.wrapping_key_label)?;
        let key =
            line.session.generate_key(&Mechanism::AesKeyGen, &templates::to_generate(AES, Life::Leased, allowed))?;
        let sealed = line.seal(key, b"", KNOWN_ANSWER)?;
        let door = Arc::clone(&home.door);
        Ok(Self { wrapping, canary: Canary { door, key, iv: sealed.iv, ciphertext: sealed.ciphertext } })
    }
}

impl Counts {
    /// Counts an answer of the HSM that was not CKR_OK.
    pub(super) fn note(&self, error: &HsmError) {
        if !error.is_answer() {
            return;
        }
        let mut errors = self.errors.lock();
        let full = errors.len() >= MAX_COUNTED;
        let pair = (error.function.clone(), error.code.to_string());
        match errors.get_mut(&pair) {
            Some(count) => *count += 1,
            None if full => *errors.entry(("other".into(), "other".to_owned())).or_default() += 1,
            None => drop(errors.insert(pair, 1)),
        }
    }

    pub(super) fn errors(&self) -> Vec<ErrorCount> {
        let errors = self.errors.lock();
        errors
            .iter()
            .map(|((function, code), count)| ErrorCount {
                function: function.to_string(),
                code: code.clone(),
                count: *count,
            })
            .collect()
    }
}
