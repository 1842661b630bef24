//! Points in time that two processes of one machine understand alike.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds on the monotonic clock, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::hsm) struct Moment(pub(super) u64);

impl Moment {
    pub(in crate::hsm) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        Self(u64::try_from(nanos).unwrap_or(0).max(1))
    }

    pub(in crate::hsm) fn nanos(self) -> u64 {
        self.0
    }

    /// The same point in time as `instant`, which has not passed long ago.
    pub(in crate::hsm) fn of(instant: Instant) -> Self {
        Self::now().plus(instant.saturating_duration_since(Instant::now()))
    }

    /// The instant that is as far in the future; now, if it has passed.
    pub(in crate::hsm) fn instant(self) -> Instant {
        Instant::now() + self.since(Self::now())
    }

    pub(in crate::hsm) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time that has passed since `earlier`; none if that is later.
    pub(in crate::hsm) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_instants_of_all_processes() {
        let (now, later) = (Moment::now(), Instant::now() + Duration::from_secs(5));
        let there = Moment::of(later);
        let (low, high) = (Duration::from_millis(4_900), Duration::from_millis(5_100));
        assert!((low..high).contains(&there.since(now)));
        assert!((low..high).contains(&there.instant().saturating_duration_since(Instant::now())));
        assert_eq!(now.since(there), Duration::ZERO);
        assert!(now.plus(Duration::MAX) > there);
    }
}
