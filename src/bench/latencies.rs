//! The time that each call took, in little memory, and percentiles of it.

use std::time::Duration;

/// Buckets for each doubling of the time, as a power of two: a bucket is less than 1 % of its time wide.
const BUCKET_BITS: u32 = 7;

/// Counts of calls by the time that they took, in buckets as an HDR histogram has them: one for each nanosecond at first, then of
/// double width after each doubling. An hour is in bucket 4,561.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Latencies {
    /// Counts a call.
    pub fn note(&mut self, time: Duration) {
        let bucket = bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.longest = self.longest.max(time);
    }

    /// Counts the calls that another has counted.
    pub fn add(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// The number of calls.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time of the slowest call.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The time within which this part of the calls was done, at most 1 % too long; zero if there was no call. 0.99 is the 99th
    /// percentile, by the nearest rank.
    pub fn within(&self, part: f64) -> Duration {
        let rank = ((self.total as f64 * part).ceil() as u64).clamp(1, self.total.max(1));
        let mut done = 0;
        let found = self.counts.iter().position(|count| {
            done += count;
            done >= rank
        });
        found.map_or(Duration::ZERO, |bucket| Duration::from_nanos(longest_in(bucket)).min(self.longest))
    }
}

/// The bucket of a time in nanoseconds.
fn bucket(ns: u64) -> usize {
    let doublings = (u64::BITS - ns.leading_zeros()).saturating_sub(BUCKET_BITS + 1);
    ((u64::from(doublings) << BUCKET_BITS) + (ns >> doublings)) as usize
}

/// The longest time that a bucket counts, in nanoseconds.
fn longest_in(bucket: usize) -> u64 {
    let doublings = (bucket >> BUCKET_BITS).saturating_sub(1);
    let shortest = (bucket - (doublings << BUCKET_BITS)) as u64;
    ((shortest + 1) << doublings).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        times.into_iter().for_each(|us| latencies.note(Duration::from_micros(us)));
        latencies
    }

    #[test]
    fn a_bucket_is_less_than_a_hundredth_of_its_time_wide_and_follows_the_one_before() {
        let around = (0..64).flat_map(|bit| [-1, 0, 1].map(|step| (1_u64 << bit).wrapping_add_signed(step)));
        for ns in around.chain([u64::MAX]) {
            let (longest, before) = (longest_in(bucket(ns)), bucket(ns).checked_sub(1).map(longest_in));
            assert!(longest >= ns && longest - ns <= ns / 100, "{ns}: {longest}");
            assert!(before.is_none_or(|before| before < ns), "{ns}: {before:?}");
        }
        assert_eq!(bucket(3_600_000_000_000), 4561);
    }

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let latencies = of((1..=1000).rev());
        for (part, us) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let within = latencies.within(part).as_secs_f64() * 1e6;
            assert!(within >= f64::from(us) && within < f64::from(us) * 1.01, "{part}: {within}");
        }
        assert_eq!((latencies.total(), latencies.longest()), (1000, Duration::from_millis(1)));
    }

    #[test]
    fn one_call_is_every_percentile_and_none_takes_no_time() {
        assert_eq!(of([777]).within(0.999), Duration::from_micros(777));
        assert_eq!(of([]).within(0.5), Duration::ZERO);
    }

    #[test]
    fn counts_of_several_callers_are_counts_of_one() {
        let mut sum = of([1, 2]);
        sum.add(&of([3000]));
        sum.add(&Latencies::default());
        assert_eq!((sum.total(), sum.longest()), (3, Duration::from_millis(3)));
        assert_eq!(sum.counts, of([1, 2, 3000]).counts);
    }
}
