//! Time is a parameter. Only this file asks the system what time it is.
//!
//! There are two times. The date is what people mean, and it jumps when somebody sets the clock. Running time only grows, and
//! only as fast as time itself: what cannot be undone waits for both ([`heartbeat`]).

pub mod heartbeat;
pub mod validity;

use std::{
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time so much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; negative if before, in milliseconds.
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads `YYYYMMDDTHHMMSSZ`, the form of `X-Amz-Date`.
    pub fn from_basic_iso8601(text: &str) -> Option<Self> {
        if text.len() != 16 {
            return None;
        }
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let parsed = time::PrimitiveDateTime::parse(text, format).ok()?;
        Some(Self(parsed.assume_utc().unix_timestamp() * 1000))
    }

    /// Writes `YYYYMMDDTHHMMSSZ`.
    pub fn basic_iso8601(self) -> String {
        self.write(format_description!("[year][month][day]T[hour][minute][second]Z"))
    }

    /// Writes `YYYY-MM-DDTHH:MM:SSZ`, the form of CloudTrail.
    pub fn iso8601(self) -> String {
        self.write(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
    }

    /// Writes the form of HTTP's `Date` header (RFC 9110 section 5.6.7).
    pub fn http_date(self) -> String {
        self.write(format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        ))
    }

    fn write(self, format: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
        OffsetDateTime::from_unix_timestamp(self.seconds())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .to_offset(UtcOffset::UTC)
            .format(format)
            .unwrap_or_default()
    }

    /// Seconds since the epoch with milliseconds as a fraction, as timestamps are answered.
    pub fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

/// A number of days of 24 hours, as the API counts them.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// How long a deployment has run, in milliseconds, over all its starts. Time that it was down is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Running(u64);

impl Running {
    /// From milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// This running time and so much more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This running time less so much; zero if it is shorter.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A date, and how long the deployment has run by then. What cannot be undone is due only when both have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The date.
    pub now: Timestamp,
    /// Running time.
    pub running: Running,
}

impl Moment {
    /// The moment so much later, if nobody sets the clock.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self { now: self.now.plus(duration), running: self.running.plus(duration) }
    }

    /// True if this is due at `moment`: by date and by running time.
    pub fn has_come(self, moment: Self) -> bool {
        self.now <= moment.now && self.running <= moment.running
    }
}

/// A source of the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time since some fixed moment in the life of this process. Setting the clock does not change it.
    fn uptime(&self) -> Duration;
}

/// The system's clock.
pub struct SystemClock;

/// When the system's clock was first asked.
static ASKED_FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn uptime(&self) -> Duration {
        ASKED_FIRST.elapsed()
    }
}

/// A clock that stands still until a test moves it.
pub struct ManualClock {
    now: AtomicI64,
    uptime: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.ms()), uptime: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.uptime.fetch_add(ms, Ordering::SeqCst);
        self.jump(i64::try_from(ms).unwrap_or(i64::MAX));
    }

    /// Sets the clock, forward or back, while no time passes.
    pub fn jump(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.uptime.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amz_dates_go_both_ways() {
        let date = "20150830T123600Z";
        let at = Timestamp::from_basic_iso8601(date).expect("a date");
        assert_eq!(at.seconds(), 1_440_938_160);
        assert_eq!(at.basic_iso8601(), date);
        assert_eq!(at.iso8601(), "2015-08-30T12:36:00Z");
        assert_eq!(at.http_date(), "Sun, 30 Aug 2015 12:36:00 GMT");
        for bad in ["", "2015-08-30T12:36:00Z", "20150830T123600", "20151330T123600Z"] {
            assert_eq!(Timestamp::from_basic_iso8601(bad), None, "{bad}");
        }
    }
}
