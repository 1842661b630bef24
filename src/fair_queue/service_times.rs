//! How long commands usually take, and so how long one that comes now will wait.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{CostClass, Counts};

/// How long the commands of a queue take: a moving average for each class, in nanoseconds; 0 before the first command.
#[derive(Default)]
pub struct ServiceTimes {
    aes: AtomicU64,
    other: AtomicU64,
}

impl ServiceTimes {
    /// Takes into account that a command has taken so long.
    pub fn note(&self, class: CostClass, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let usual = self.of(class);
        // A sample that another thread overwrites is no loss.
        usual.store(averaged(usual.load(Ordering::Relaxed), took), Ordering::Relaxed);
    }

    /// The average time of a command of this class; `None` before the first one.
    pub fn time(&self, class: CostClass) -> Option<Duration> {
        let usual = self.of(class).load(Ordering::Relaxed);
        (usual != 0).then(|| Duration::from_nanos(usual))
    }

    /// The shortest time in which `workers` can do what is `ahead`. A class that was never measured counts nothing.
    pub fn wait(&self, ahead: Counts, workers: usize) -> Duration {
        let all = |count: usize, class| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.time(class).unwrap_or_default().saturating_mul(count)
        };
        let all = all(ahead.aes, CostClass::Aes).saturating_add(all(ahead.other, CostClass::Other));
        all / u32::try_from(workers.max(1)).unwrap_or(u32::MAX)
    }

    fn of(&self, class: CostClass) -> &AtomicU64 {
        match class {
            CostClass::Aes => &self.aes,
            CostClass::Other => &self.other,
        }
    }
}

/// A sample counts as four times the average at most: a call that hung, or whose thread had to wait for a core, says little
/// of the next, and where all have become slower the average follows within a few dozen.
fn averaged(usual: u64, took: u64) -> u64 {
    match usual {
        0 => took.max(1),
        usual => usual - usual / 16 + took.min(usual.saturating_mul(4)) / 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_shared_by_the_workers_and_unknown_times_count_nothing() {
        let usual = ServiceTimes::default();
        let ahead = Counts { aes: 100, other: 10 };
        assert_eq!(usual.wait(ahead, 4), Duration::ZERO);
        usual.note(CostClass::Aes, Duration::from_micros(20));
        assert_eq!(usual.wait(ahead, 4), Duration::from_micros(500));
        usual.note(CostClass::Other, Duration::from_millis(2));
        assert_eq!(usual.wait(ahead, 4), Duration::from_micros(5_500));
        assert_eq!(usual.wait(ahead, 0), usual.wait(ahead, 1));
        assert_eq!(usual.wait(Counts::default(), 1), Duration::ZERO);
    }

    #[test]
    fn one_call_that_hangs_moves_the_average_little_and_many_slow_ones_move_it_soon() {
        let after = |n, took| (0..n).fold(10_000, |usual, _| averaged(usual, took));
        assert!(after(1, 5_000_000_000) < 12_000);
        assert!(after(60, 10_000_000) > 5_000_000);
        assert!((9_000..=10_000).contains(&after(1000, 10_000)));
        assert_eq!(averaged(0, 7), 7);
    }
}
