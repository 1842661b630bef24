//! Failed RSA decryptions, those of imports among them, are limited per caller and key. An attack on the padding asks thousands of times (Manger's
//! on RSAES-OAEP one to two thousand), an honest client hardly ever fails.
//!
//! A place is taken before the HSM is called, and given back when the decryption succeeds. So however many callers decrypt at once,
//! no more decryptions run than may fail; the others wait for a place.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::timeout_at};

use crate::{
    clock::Timestamp,
    error::{Code, KmsError},
    failure,
    key::reference::KeyId,
    kms::cx::Cx,
    principal::Principal,
};

/// Failures that one caller may have with one key in one [`WINDOW`].
const MAX_FAILURES: u32 = 100;
/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// The most windows that are kept. Beyond, those go that are over, and then that with the fewest failures: so to have one
/// forgotten takes as many failures in each of all others.
const MAX_WINDOWS: usize = 10_000;

/// The caller's ARN, and the key.
type Id = (String, KeyId);
type Windows = HashMap<Id, Arc<Window>>;

/// The failures of the last minute. Windows without failures and decryptions under way are not kept.
#[derive(Default)]
pub struct PaddingOracleGuard(Mutex<Windows>);

/// A minute of one caller with one key.
struct Window {
    ends: Timestamp,
    /// Places of those that may still fail; closed when none may.
    places: Semaphore,
    failures: AtomicU32,
}

/// A decryption that is under way. It counts as a failure unless it ends as none.
pub struct DecryptionAttempt<'a> {
    all: &'a PaddingOracleGuard,
    id: Id,
    window: Arc<Window>,
    has_passed: bool,
}

impl PaddingOracleGuard {
    /// Lets `caller` try `key`, when there is a place.
    ///
    /// # Errors
    /// `ThrottlingException` after too many failures, or if there is no place by the deadline.
    pub async fn begin(
        &self,
        caller: &Principal,
        key: KeyId,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<DecryptionAttempt<'_>, KmsError> {
        let id = (caller.arn().to_owned(), key);
        let window = self.window(&id, now);
        match timeout_at(deadline.into(), window.places.acquire()).await {
            Ok(Ok(place)) => place.forget(),
            Ok(Err(_)) | Err(_) => return Err(failure::throttled()),
        }
        Ok(DecryptionAttempt { all: self, id, window, has_passed: false })
    }

    fn window(&self, id: &Id, now: Timestamp) -> Arc<Window> {
        let mut windows = self.windows();
        if let Some(window) = windows.get(id).filter(|window| now < window.ends) {
            return Arc::clone(window);
        }
        if windows.len() >= MAX_WINDOWS {
            make_room(&mut windows, now);
        }
        let window = Arc::new(Window::beginning(now));
        windows.insert(id.clone(), Arc::clone(&window));
        window
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Cx<'_> {
    /// Lets the caller try to have something decrypted for `key`.
    ///
    /// # Errors
    /// As [`PaddingOracleGuard::begin`].
    pub(super) async fn attempt(&self, key: KeyId, deadline: Instant) -> Result<DecryptionAttempt<'_>, KmsError> {
        self.kms.padding_oracle_guard.begin(&self.caller().principal, key, self.now(), deadline).await
    }
}

impl DecryptionAttempt<'_> {
    /// Notes the result. Only an answer that the data is wrong counts as a failure, for no other teaches an attacker anything.
    pub fn conclude<T>(mut self, result: Result<T, KmsError>) -> Result<T, KmsError> {
        self.has_passed = !matches!(&result, Err(error) if error.code == Code::InvalidCiphertextException);
        result
    }
}

impl Drop for DecryptionAttempt<'_> {
    fn drop(&mut self) {
        match self.has_passed {
            true => self.window.places.add_permits(1),
            false => self.window.count_failure(&self.id),
        }
        let mut windows = self.all.windows();
        let is_its = |window: &Arc<Window>| Arc::ptr_eq(window, &self.window) && window.is_spotless(2);
        if windows.get(&self.id).is_some_and(is_its) {
            windows.remove(&self.id);
        }
    }
}

impl Window {
    fn beginning(now: Timestamp) -> Self {
        let places = Semaphore::new(MAX_FAILURES as usize);
        Self { ends: now.plus(WINDOW), places, failures: AtomicU32::new(0) }
    }

    /// Counts a failure. At the last one allowed, it logs an alarm and refuses those that wait for a place.
    fn count_failure(&self, (caller, key): &Id) {
        if self.failures.fetch_add(1, Ordering::AcqRel) + 1 == MAX_FAILURES {
            self.places.close();
            tracing::error!(%caller, %key, "too many failed RSA decryptions: this may be an attack on the padding");
        }
    }

    /// True if nothing has failed, and nothing can with so many holders of the window.
    fn is_spotless(self: &Arc<Self>, holders: usize) -> bool {
        self.failures.load(Ordering::Acquire) == 0 && Arc::strong_count(self) <= holders
    }
}

fn make_room(windows: &mut Windows, now: Timestamp) {
    windows.retain(|_, window| now < window.ends && !window.is_spotless(1));
    if windows.len() >= MAX_WINDOWS {
        let least = windows.iter().min_by_key(|(_, window)| window.failures.load(Ordering::Relaxed));
        if let Some(id) = least.map(|(id, _)| id.clone()) {
            windows.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(0);

    fn caller(name: &str) -> Principal {
        Principal::try_from(format!("arn:aws:iam::000000000000:user/{name}")).expect("an ARN")
    }

    async fn begin<'a>(
        all: &'a PaddingOracleGuard,
        name: &str,
        key: KeyId,
        now: Timestamp,
    ) -> Result<DecryptionAttempt<'a>, Code> {
        let deadline = Instant::now() + Duration::from_millis(20);
        all.begin(&caller(name), key, now, deadline).await.map_err(|error| error.code)
    }

    async fn fail(all: &PaddingOracleGuard, name: &str, key: KeyId, times: u32) {
        for _ in 0..times {
            drop(begin(all, name, key, START).await.expect("a place"));
        }
    }

    #[tokio::test]
    async fn the_hundred_and_first_failure_of_a_minute_is_not_tried() {
        let (all, key) = (PaddingOracleGuard::default(), KeyId::random(false));
        fail(&all, "eve", key, MAX_FAILURES).await;
        assert_eq!(begin(&all, "eve", key, START).await.err(), Some(Code::ThrottlingException));
        begin(&all, "eve", KeyId::random(false), START).await.expect("another key");
        begin(&all, "bob", key, START).await.expect("another caller");
        begin(&all, "eve", key, START.plus(WINDOW)).await.expect("another minute");
    }

    #[tokio::test]
    async fn what_is_under_way_may_fail_and_gives_its_place_back_if_it_does_not() {
        let (all, key) = (PaddingOracleGuard::default(), KeyId::random(false));
        fail(&all, "eve", key, 1).await;
        let mut under_way = Vec::new();
        for _ in 1..MAX_FAILURES {
            under_way.push(begin(&all, "eve", key, START).await.expect("a place"));
        }
        assert_eq!(begin(&all, "eve", key, START).await.err(), Some(Code::ThrottlingException));
        under_way.pop().expect("one").conclude(Ok(())).expect("it is passed on");
        begin(&all, "eve", key, START).await.expect("a place").conclude(Ok(())).expect("it is passed on");
        let waits = begin(&all, "eve", key, START);
        drop(begin(&all, "eve", key, START).await.expect("a place"));
        drop(under_way);
        assert_eq!(waits.await.err(), Some(Code::ThrottlingException), "all have failed");
    }

    #[tokio::test]
    async fn what_does_not_fail_leaves_nothing_and_what_has_failed_often_is_not_forgotten_for_what_has_seldom() {
        let (all, key) = (PaddingOracleGuard::default(), KeyId::random(false));
        begin(&all, "bob", key, START).await.expect("a place").conclude(Ok(())).expect("it is passed on");
        assert_eq!(all.windows().len(), 0);
        fail(&all, "eve", key, MAX_FAILURES).await;
        for _ in 0..=MAX_WINDOWS {
            fail(&all, "eve", KeyId::random(false), 1).await;
        }
        assert_eq!(all.windows().len(), MAX_WINDOWS);
        assert_eq!(begin(&all, "eve", key, START).await.err(), Some(Code::ThrottlingException));
    }
}
