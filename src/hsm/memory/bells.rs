//! Waking: a thread of the worker process by its word, on which it sleeps (futex(2)), and the service by a pipe.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

/// How a thread is.
const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const RESTING: u32 = 2;

/// The words of all threads.
#[derive(Clone, Copy)]
pub(in crate::hsm) struct Bells<'a> {
    /// 1 if the service has been called and has not come yet.
    called: &'a AtomicU32,
    threads: &'a [AtomicU32],
}

impl<'a> Bells<'a> {
    pub(super) fn new(called: &'a AtomicU32, threads: &'a [AtomicU32]) -> Self {
        Self { called, threads }
    }

    /// Sleeps until woken or for so long, unless there is something to do once it is known that this thread sleeps.
    pub(in crate::hsm) fn sleep_unless(&self, thread: usize, most: Duration, is_something: impl FnOnce() -> bool) {
        let Some(word) = self.threads.get(thread) else { return };
        word.store(ASLEEP, Ordering::SeqCst);
        if !is_something() {
            // However it ends, the caller looks whether there is something to do.
            let most = Timespec::try_from(most).ok();
            let _ = futex::wait(word, futex::Flags::empty(), ASLEEP, most.as_ref());
        }
        word.store(AWAKE, Ordering::SeqCst);
    }

    /// Notes whether a thread rests, because the token has no session for it.
    pub(in crate::hsm) fn note_rest(&self, thread: usize, rests: bool) {
        if let Some(word) = self.threads.get(thread) {
            word.store(if rests { RESTING } else { AWAKE }, Ordering::SeqCst);
        }
    }

    /// Wakes the first of these threads that sleeps: so under little load it is always the same, whose caches are warm. False
    /// if none sleeps.
    pub(in crate::hsm) fn wake_one(&self, threads: Range<usize>) -> bool {
        threads.into_iter().any(|thread| self.wake(thread))
    }

    /// Wakes all of these threads that sleep, whatever their words say.
    pub(in crate::hsm) fn wake_whatever_they_say(&self, threads: Range<usize>) {
        for word in self.threads.get(threads).unwrap_or_default() {
            // It fails only for a word that is not there.
            let _ = futex::wake(word, futex::Flags::empty(), 1);
        }
    }

    /// Wakes all of these threads that sleep.
    pub(in crate::hsm) fn wake_all(&self, threads: Range<usize>) {
        for thread in threads {
            self.wake(thread);
        }
    }

    fn wake(&self, thread: usize) -> bool {
        let Some(word) = self.threads.get(thread) else { return false };
        let is_woken = word.compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if is_woken {
            // It fails only for a word that is not there.
            let _ = futex::wake(word, futex::Flags::empty(), 1);
        }
        is_woken
    }

    /// The number of these threads that sleep, and of those that are awake.
    pub(in crate::hsm) fn asleep_and_awake(&self, threads: Range<usize>) -> (usize, usize) {
        let words = self.threads.get(threads).unwrap_or_default();
        let count = |state| words.iter().filter(|word| word.load(Ordering::SeqCst) == state).count();
        (count(ASLEEP), count(AWAKE))
    }

    /// Calls the service, unless it has been called and has not come yet.
    pub(super) fn call(&self, service: impl AsFd) {
        if self.called.swap(1, Ordering::SeqCst) == 0 {
            // It fails only if the service is gone.
            let _ = rustix::io::write(service, &[1]);
        }
    }

    /// The service has come: whoever calls from now on rings again.
    pub(in crate::hsm) fn answer_call(&self) {
        self.called.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    const A_MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn who_sleeps_is_woken_in_order_and_who_has_something_to_do_does_not_sleep() {
        let words: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        let bells = Bells::new(&words[0], &words[1..]);
        bells.sleep_unless(0, A_MINUTE, || true);
        assert_eq!(bells.asleep_and_awake(0..3), (0, 3));
        assert!(!bells.wake_one(0..3));
        thread::scope(|scope| {
            let sleepers = [1, 2].map(|thread| scope.spawn(move || bells.sleep_unless(thread, A_MINUTE, || false)));
            while bells.asleep_and_awake(0..3) != (2, 1) {
                thread::yield_now();
            }
            assert!(bells.wake_one(0..3) && bells.wake_one(0..3) && !bells.wake_one(0..3));
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        });
        bells.note_rest(2, true);
        assert_eq!(bells.asleep_and_awake(0..3), (0, 2));
        bells.sleep_unless(0, Duration::from_millis(1), || false);
    }

    #[test]
    fn the_service_is_called_once_for_all_answers_until_it_comes() {
        let (words, (called, service)) = ([const { AtomicU32::new(0) }; 2], pipe_with(PipeFlags::NONBLOCK).unwrap());
        let bells = Bells::new(&words[0], &words[1..]);
        let rings = || rustix::io::read(&called, &mut [0; 8]);
        (0..3).for_each(|_| bells.call(&service));
        assert_eq!(rings(), Ok(1));
        bells.call(&service);
        assert!(rings().is_err());
        bells.answer_call();
        bells.call(&service);
        assert_eq!(rings(), Ok(1));
    }
}
