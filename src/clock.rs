//! Time is a parameter. Only this file asks the system what time it is.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
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

    /// This time and so much more.
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

/// Days as the API counts them.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until a test moves it.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.ms()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
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
