//! Leased handles: the cache that keeps a used key in the HSM, so that a hit costs no HSM call.
//!
//! Whoever uses a handle holds an [`Arc`] of its [`Lease`]. Eviction only forgets the cache's own; the object is destroyed
//! when the last user lets go, never under one. Loading and destroying is the anchor's work, because the objects live in its
//! session (`loading`).
//!
//! Two that miss the same key wait for one unwrapping. Those who miss take turns: who uses more keys than are kept makes the
//! anchor work for each call, and must not keep it from others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::lease::{Lease, LeaseResult, Released};
use crate::fair_queue::{CostClass, FairQueue, Queued};
use crate::hsm::engine::command::{Half, HandleId};
use crate::hsm::engine::leases::LeaseNumber;
use crate::hsm::error::{HsmError, Kind};
use crate::identity::Asker;
use crate::key::material::{Material, MaterialId};

/// The result of asking for a handle.
pub(super) enum HandleLookup {
    /// It was there.
    Ready(Arc<Lease>),
    /// It is being made.
    Soon(oneshot::Receiver<LeaseResult>),
}

/// The cache.
pub(super) struct Handles {
    limit: usize,
    released: Arc<Released>,
    last_number: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    ready: HashMap<HandleId, Cached>,
    /// The order of eviction. One that was used since it last came to the front goes to the back once more.
    ring: VecDeque<HandleId>,
    wanted: HashMap<HandleId, Vec<oneshot::Sender<LeaseResult>>>,
    /// The handles that askers want; one that several want is in the lines of all of them.
    wants: FairQueue<WantedHandle>,
}

/// A handle to be made.
pub(super) struct WantedHandle {
    pub(super) asker: Asker,
    pub(super) id: HandleId,
    pub(super) material: Arc<Material>,
    pub(super) deadline: Instant,
    /// True if room has been made for it, because the HSM had none.
    pub(super) is_second: bool,
}

impl Queued for WantedHandle {
    fn asker(&self) -> Asker {
        self.asker
    }

    fn class(&self) -> CostClass {
        CostClass::Other
    }
}

struct Cached {
    lease: Arc<Lease>,
    used: bool,
}

impl Handles {
    pub(super) fn new(limit: usize) -> Self {
        let table = Mutex::default();
        Self { limit: limit.max(1), released: Arc::default(), last_number: AtomicU64::new(0), table }
    }

    /// The leases that nobody holds any more. Its bell is rung for wants, too.
    pub(super) fn released(&self) -> &Arc<Released> {
        &self.released
    }

    /// The number of a lease to be.
    pub(super) fn next_number(&self) -> LeaseNumber {
        LeaseNumber(self.last_number.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.table().ready.len()
    }

    /// The handle, or the promise of it: then the anchor is to load it.
    pub(super) fn get(&self, asker: Asker, id: HandleId, material: &Arc<Material>, deadline: Instant) -> HandleLookup {
        let mut table = self.table();
        if let Some(cached) = table.ready.get_mut(&id) {
            cached.used = true;
            return HandleLookup::Ready(Arc::clone(&cached.lease));
        }
        let (promise, wait) = oneshot::channel();
        table.wanted.entry(id).or_default().push(promise);
        table.wants.push(WantedHandle { asker, id, material: Arc::clone(material), deadline, is_second: false });
        self.released.bell.notify_one();
        HandleLookup::Soon(wait)
    }

    /// The next handle to be made: one that has not been made for another asker meanwhile, and for which somebody waits.
    pub(super) fn next_want(&self) -> Option<WantedHandle> {
        let mut table = self.table();
        loop {
            let want = table.wants.pop()?;
            if table.is_wanted(want.id) {
                return Some(want);
            }
        }
    }

    /// The HSM has no room for a handle: half of the cached ones go, and after them it is tried once more.
    pub(super) fn make_room(&self, want: WantedHandle) {
        let gone = self.table().halve();
        tracing::warn!(gone = gone.len(), "the HSM has no room for more handles; half of them are given up");
        // They are given back before the next key is loaded.
        drop(gone);
        self.table().wants.push(WantedHandle { is_second: true, ..want });
    }

    /// Gives everyone who waits what the anchor came back with, and keeps a handle for the next.
    pub(super) fn put(&self, id: HandleId, made: LeaseResult) {
        let mut table = self.table();
        let waiting = table.wanted.remove(&id).unwrap_or_default();
        let evicted = match &made {
            Ok(lease) => table.insert(id, Arc::clone(lease), self.limit),
            Err(_) => Vec::new(),
        };
        drop(table);
        drop(evicted);
        for promise in waiting {
            let _ = promise.send(made.clone());
        }
    }

    /// Forgets one handle, if it is still the one that did not work.
    pub(super) fn drop_stale(&self, id: HandleId, stale: &Arc<Lease>) {
        let mut table = self.table();
        if table.ready.get(&id).is_some_and(|cached| Arc::ptr_eq(&cached.lease, stale)) {
            let forgotten = table.remove(id);
            drop(table);
            drop(forgotten);
        }
    }

    /// Forgets everything of one material.
    pub(super) fn forget(&self, material: MaterialId) {
        let mut table = self.table();
        let halves = [Half::Secret, Half::Public].map(|half| table.remove(HandleId { material, half }));
        drop(table);
        drop(halves);
    }

    /// Forgets everything: the handles mean nothing any more, and what was being made will not come.
    pub(super) fn reset(&self) {
        let table = std::mem::take(&mut *self.table());
        let lost = HsmError::new(Kind::SessionLost, "lease", "the session of the handles was lost");
        for promise in table.wanted.into_values().flatten() {
            let _ = promise.send(Err(lost.clone()));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    /// True if somebody still waits for it. If nobody does, it counts as not asked for.
    fn is_wanted(&mut self, id: HandleId) -> bool {
        let wanted = self.wanted.get(&id).is_some_and(|waiting| waiting.iter().any(|promise| !promise.is_closed()));
        if !wanted {
            self.wanted.remove(&id);
        }
        wanted
    }

    /// Returns what had to go; to be dropped when the table is no longer locked.
    fn insert(&mut self, id: HandleId, lease: Arc<Lease>, limit: usize) -> Vec<Cached> {
        let mut gone: Vec<Cached> = self.remove(id).into_iter().collect();
        while self.ready.len() >= limit {
            match self.evict() {
                Some(cached) => gone.push(cached),
                None => break,
            }
        }
        self.ready.insert(id, Cached { lease, used: false });
        self.ring.push_back(id);
        gone
    }

    fn halve(&mut self) -> Vec<Cached> {
        let keep = self.ready.len() / 2;
        let mut gone = Vec::new();
        while self.ready.len() > keep {
            gone.extend(self.evict());
        }
        gone
    }

    fn remove(&mut self, id: HandleId) -> Option<Cached> {
        let cached = self.ready.remove(&id)?;
        self.ring.retain(|other| *other != id);
        Some(cached)
    }

    /// Second chance: the longest unused, or near enough, for the price of one flag.
    fn evict(&mut self) -> Option<Cached> {
        loop {
            let id = self.ring.pop_front()?;
            match self.ready.get_mut(&id) {
                Some(cached) if cached.used => cached.used = false,
                _ => return self.ready.remove(&id),
            }
            self.ring.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::material::Keeping;
    use crate::key::spec::{KeySpec, KeyUsage};

    fn id(n: u8) -> HandleId {
        HandleId { material: MaterialId([n; 32]), half: Half::Secret }
    }

    fn get(handles: &Handles, n: u8) -> HandleLookup {
        get_for(handles, "one", n)
    }

    fn get_for(handles: &Handles, asker: &str, n: u8) -> HandleLookup {
        let keeping = Keeping::Token { cka_id: vec![n], member: None };
        let (spec, usage) = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
        let material = Material { id: MaterialId([n; 32]), spec, usage, keeping, public_key: None };
        handles.get(Asker::named(asker), id(n), &Arc::new(material), Instant::now())
    }

    fn put(handles: &Handles, n: u8) {
        handles.put(id(n), Ok(Lease::new(LeaseNumber(n.into()), handles.released())));
    }

    fn is_there(handles: &Handles, n: u8) -> bool {
        matches!(get(handles, n), HandleLookup::Ready(_))
    }

    fn released(handles: &Handles) -> Vec<u64> {
        handles.released().take(usize::MAX).into_iter().map(|LeaseNumber(number)| number).collect()
    }

    #[test]
    fn two_that_miss_wait_for_one_making() {
        let handles = Handles::new(4);
        let (HandleLookup::Soon(mut one), HandleLookup::Soon(mut other)) = (get(&handles, 1), get(&handles, 1)) else {
            panic!("nothing was there")
        };
        assert!(handles.next_want().is_some());
        put(&handles, 1);
        assert!(handles.next_want().is_none(), "it is made once");
        let (one, other) = (one.try_recv().unwrap().unwrap(), other.try_recv().unwrap().unwrap());
        assert!(Arc::ptr_eq(&one, &other) && is_there(&handles, 1));
    }

    #[test]
    fn what_nobody_waits_for_is_not_made_and_can_be_asked_for_again() {
        let handles = Handles::new(4);
        drop(get(&handles, 1));
        assert!(handles.next_want().is_none());
        let _again = get(&handles, 1);
        assert!(handles.next_want().is_some_and(|want| want.id == id(1)));
    }

    #[test]
    fn askers_take_turns_also_for_what_another_wanted_before() {
        let handles = Handles::new(8);
        let _waiting = [1, 2, 3, 4].map(|n| get_for(&handles, "greedy", n));
        let _others = [get_for(&handles, "modest", 5), get_for(&handles, "modest", 4)];
        let made = std::iter::from_fn(|| {
            let WantedHandle { id: HandleId { material: MaterialId([n, ..]), .. }, .. } = handles.next_want()?;
            put(&handles, n);
            Some(n)
        });
        assert_eq!(made.collect::<Vec<_>>(), [1, 5, 2, 4, 3]);
    }

    #[test]
    fn eviction_spares_the_used_and_never_takes_a_handle_from_a_user() {
        let handles = Handles::new(2);
        put(&handles, 1);
        put(&handles, 2);
        let HandleLookup::Ready(user) = get(&handles, 1) else { panic!("1 is there") };
        put(&handles, 3);
        assert_eq!(released(&handles), [2]);
        handles.forget(MaterialId([1; 32]));
        assert!(released(&handles).is_empty());
        drop(user);
        assert_eq!(released(&handles), [1]);
        assert_eq!(handles.len(), 1);
    }

    #[test]
    fn only_the_handle_that_failed_is_dropped_as_stale() {
        let handles = Handles::new(2);
        put(&handles, 1);
        let HandleLookup::Ready(stale) = get(&handles, 1) else { panic!("1 is there") };
        put(&handles, 1);
        handles.drop_stale(id(1), &stale);
        assert!(is_there(&handles, 1) && released(&handles).is_empty());
    }

    #[test]
    fn a_reset_forgets_all_and_tells_those_who_wait() {
        let handles = Handles::new(2);
        put(&handles, 1);
        let HandleLookup::Soon(mut wait) = get(&handles, 2) else { panic!("2 is not there") };
        handles.reset();
        assert!(wait.try_recv().unwrap().is_err_and(|error| error.kind == Kind::SessionLost));
        assert_eq!(released(&handles), [1]);
        assert_eq!(handles.len(), 0);
    }
}
