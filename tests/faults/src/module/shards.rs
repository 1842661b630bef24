//! A map from handles to things, in shards: calls of different sessions do not wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const SHARDS: usize = 16;

type Shard<T> = RwLock<HashMap<u64, Arc<T>>>;

pub struct Shards<T>([Shard<T>; SHARDS]);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl<T> Shards<T> {
    pub fn get(&self, handle: u64) -> Option<Arc<T>> {
        read(self.shard(handle)).get(&handle).cloned()
    }

    pub fn insert(&self, handle: u64, thing: Arc<T>) {
        write(self.shard(handle)).insert(handle, thing);
    }

    pub fn remove(&self, handle: u64) -> Option<Arc<T>> {
        write(self.shard(handle)).remove(&handle)
    }

    /// All things, as they were a moment ago.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.0.iter().flat_map(|shard| read(shard).values().cloned().collect::<Vec<_>>()).collect()
    }

    pub fn retain(&self, keep: impl Fn(&T) -> bool) {
        for shard in &self.0 {
            write(shard).retain(|_, thing| keep(thing));
        }
    }

    fn shard(&self, handle: u64) -> &Shard<T> {
        &self.0[handle as usize % SHARDS]
    }
}

/// A panic of another thread leaves a map as good as it was.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The same for a mutex.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
