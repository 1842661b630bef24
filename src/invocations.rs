//! Counts GCM invocations per material, in durable blocks (NIST SP 800-38D section 8.3: at most 2^32 random IVs a key).
//!
//! A block is written to the store before its first invocation is used; what is left of it at a stop counts as used.
//! So the count never goes back, and encrypting costs one write per block of invocations.

use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Mutex;

use crate::{
    error::{Code, KmsError},
    failure,
    key::material::MaterialId,
    store::Store,
};

/// Invocations reserved by one write for KMS keys.
const BLOCK: u64 = 1 << 16;
/// The most invocations of one material.
const LIMIT: u64 = 1 << 32;
/// After so many it should have a successor.
const WORN: u64 = LIMIT / 2;

/// The counters of all materials in use here.
pub struct Invocations {
    store: Store,
    /// Invocations reserved by one write.
    block: u64,
    counters: RwLock<HashMap<MaterialId, Arc<Counter>>>,
}

/// The rest of the block that is reserved for one material.
#[derive(Default)]
struct Counter {
    left: AtomicU64,
    refill: Mutex<()>,
}

impl Invocations {
    /// Counters over `store`, for KMS keys.
    pub fn new(store: Store) -> Self {
        Self::in_blocks(store, BLOCK)
    }

    /// Counters that reserve so many at a time, which is what a process wastes that uses one and ends.
    pub fn in_blocks(store: Store, block: u64) -> Self {
        Self { store, block, counters: RwLock::default() }
    }

    /// Takes one invocation of `material`. Whoever finds that it has been used for so many that it should have a successor is
    /// answered true, once in a block.
    ///
    /// # Errors
    /// `KMSInvalidStateException` when the material has none left; `DependencyTimeoutException` if the store fails.
    pub async fn take(&self, material: MaterialId) -> Result<bool, KmsError> {
        let counter = self.counter(material);
        let mut is_worn = false;
        while !counter.take() {
            let _one_at_a_time = counter.refill.lock().await;
            if counter.left.load(Ordering::Acquire) == 0 {
                // Boxed, for else every invocation would carry the state of this, which is done once in a block.
                is_worn = Box::pin(self.reserve(material, &counter)).await? > WORN;
            }
        }
        Ok(is_worn)
    }

    /// Reserves a block; answers how many are reserved by now.
    async fn reserve(&self, material: MaterialId, counter: &Counter) -> Result<u64, KmsError> {
        let reserved = self.store.reserve_invocations(material, self.block).await.map_err(failure::store)?;
        if reserved > LIMIT {
            let text = format!("Key material {material} has been used for as many encryptions as it may be.");
            return Err(KmsError::new(Code::KMSInvalidStateException, text));
        }
        counter.left.fetch_add(self.block, Ordering::Release);
        Ok(reserved)
    }

    fn counter(&self, material: MaterialId) -> Arc<Counter> {
        let known = self.counters.read().unwrap_or_else(|e| e.into_inner()).get(&material).map(Arc::clone);
        known.unwrap_or_else(|| {
            let mut counters = self.counters.write().unwrap_or_else(|e| e.into_inner());
            Arc::clone(counters.entry(material).or_default())
        })
    }
}

impl Counter {
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
    }
}
