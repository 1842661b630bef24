//! The caller's sessions: virtual handles, and what is known about each.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID};

use super::shards::{Shards, lock};
use super::{Module, real, thread};
use crate::function::Operation;

pub struct Session {
    pub handle: CK_SESSION_HANDLE,
    pub real: CK_SESSION_HANDLE,
    pub slot: CK_SLOT_ID,
    life: Mutex<Life>,
    /// The thread that is in a call of this session, or 0.
    holder: AtomicU64,
    /// The operations that are active in the real session, a bit for each.
    active: AtomicU32,
    mechanisms: [AtomicU64; Operation::COUNT],
    /// Virtual handles of the keys of active operations.
    keys: [AtomicU64; Operation::COUNT],
    /// Virtual handles of what the call that is in it uses.
    using: [AtomicU64; 2],
    /// A logout came while operations were active: they are gone.
    lost: AtomicBool,
    /// The code with which the next work function fails, or 0.
    pub fail_next: AtomicU64,
    /// Its owner was told of a failure of what the HSM has done.
    pub is_misled: AtomicBool,
    /// Handles that have been found and not yet given.
    pub found: Mutex<VecDeque<u64>>,
    /// Virtual handles of the session objects that were made in it.
    pub owned: Mutex<HashSet<u64>>,
}

/// A session is closed in the real module only when no call is in it: closing it under a call may crash that module.
#[derive(Default)]
struct Life {
    calls: u32,
    doomed: bool,
    closed: bool,
}

#[derive(Default)]
pub struct Sessions {
    by_handle: Shards<Session>,
    last: AtomicU64,
    open: AtomicUsize,
}

impl Sessions {
    pub fn get(&self, handle: CK_SESSION_HANDLE) -> Option<Arc<Session>> {
        self.by_handle.get(handle)
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.by_handle.all()
    }

    /// How many the caller has open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the caller has been given this handle some time.
    pub fn has_been(&self, handle: CK_SESSION_HANDLE) -> bool {
        handle != 0 && handle <= self.last.load(Ordering::Relaxed)
    }

    pub fn add(&self, slot: CK_SLOT_ID, real: CK_SESSION_HANDLE) -> CK_SESSION_HANDLE {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.by_handle.insert(handle, Arc::new(Session::new(handle, slot, real)));
        self.open.fetch_add(1, Ordering::Relaxed);
        handle
    }

    /// Forgets a handle that the caller has closed.
    pub fn forget(&self, session: &Session) {
        if self.by_handle.remove(session.handle).is_some() && !session.is_doomed() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The session dies: its handle is void, and the real one is closed as soon as no call is in it.
    pub fn doom(&self, module: &Module, session: &Session) {
        let newly = {
            let mut life = lock(&session.life);
            let newly = !life.doomed && !life.closed;
            life.doomed = true;
            newly
        };
        if newly {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        session.close_if_idle(module);
    }

    pub fn active_operations(&self) -> usize {
        self.all()
            .iter()
            .filter(|session| !session.is_doomed())
            .map(|session| session.active().count_ones() as usize)
            .sum()
    }
}

impl Session {
    fn new(handle: CK_SESSION_HANDLE, slot: CK_SLOT_ID, real: CK_SESSION_HANDLE) -> Self {
        Self {
            handle,
            real,
            slot,
            life: Mutex::default(),
            holder: AtomicU64::new(0),
            active: AtomicU32::new(0),
            mechanisms: Default::default(),
            keys: Default::default(),
            using: Default::default(),
            lost: AtomicBool::new(false),
            fail_next: AtomicU64::new(0),
            is_misled: AtomicBool::new(false),
            found: Mutex::default(),
            owned: Mutex::default(),
        }
    }

    pub fn is_doomed(&self) -> bool {
        lock(&self.life).doomed
    }

    /// Before a call of the real session; none when that is gone or going.
    pub fn visit<'a>(&'a self, module: &'a Module) -> Option<Visit<'a>> {
        let mut life = lock(&self.life);
        if life.doomed || life.closed {
            return None;
        }
        life.calls += 1;
        Some(Visit { session: self, module })
    }

    /// The real session has been closed by the caller.
    pub fn note_closed(&self) {
        lock(&self.life).closed = true;
    }

    fn close_if_idle(&self, module: &Module) {
        let mut life = lock(&self.life);
        if !life.doomed || life.closed || life.calls > 0 {
            return;
        }
        life.closed = true;
        drop(life);
        let _ = real!(module.C_CloseSession(self.real));
    }

    /// Takes the session for this thread and a call that uses these objects; the answer is whether another thread has it.
    pub fn enter(&self, objects: [CK_OBJECT_HANDLE; 2]) -> Entered<'_> {
        let me = thread::id();
        match self.holder.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {
                self.use_objects(objects);
                Entered::Alone(Holding(self))
            }
            Err(other) if other == me => Entered::Again,
            Err(_) => Entered::Contended,
        }
    }

    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub fn is_active(&self, operation: Operation) -> bool {
        self.active() & operation.bit() != 0
    }

    pub fn lose_operations(&self) {
        let any = self.active() & !Operation::Find.bit() != 0;
        self.lost.store(any, Ordering::Relaxed);
    }

    pub fn has_lost_operations(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn use_objects(&self, objects: [CK_OBJECT_HANDLE; 2]) {
        self.using.iter().zip(objects).for_each(|(place, handle)| place.store(handle, Ordering::Relaxed));
    }

    /// Whether a call or an active operation needs the object.
    pub fn uses(&self, object: CK_OBJECT_HANDLE) -> bool {
        let is_it = |place: &AtomicU64| place.load(Ordering::Relaxed) == object;
        let is_key = |operation: &Operation| self.is_active(*operation) && is_it(&self.keys[*operation as usize]);
        self.using.iter().any(is_it) || Operation::ALL.iter().any(is_key)
    }

    pub fn begin(&self, operation: Operation, mechanism: u64, key: CK_OBJECT_HANDLE) {
        self.lost.store(false, Ordering::Relaxed);
        self.keys[operation as usize].store(key, Ordering::Relaxed);
        self.active.fetch_or(operation.bit(), Ordering::Relaxed);
        self.mechanisms[operation as usize].store(mechanism, Ordering::Relaxed);
    }

    pub fn end(&self, operation: Operation) {
        self.lost.store(false, Ordering::Relaxed);
        self.active.fetch_and(!operation.bit(), Ordering::Relaxed);
    }

    pub fn mechanism(&self, operation: Operation) -> Option<u64> {
        self.is_active(operation).then(|| self.mechanisms[operation as usize].load(Ordering::Relaxed))
    }
}

pub enum Entered<'a> {
    Alone(#[expect(dead_code, reason = "lets go of the session when it is dropped")] Holding<'a>),
    Again,
    Contended,
}

pub struct Holding<'a>(&'a Session);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.use_objects([0; 2]);
        self.0.holder.store(0, Ordering::Release);
    }
}

/// While this is there, the real session is not closed by us.
pub struct Visit<'a> {
    session: &'a Session,
    module: &'a Module,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        lock(&self.session.life).calls -= 1;
        self.session.close_if_idle(self.module);
    }
}
