//! The dates between which something is valid.

use super::Timestamp;

const DAY_MS: f64 = 24.0 * 60.0 * 60.0 * 1000.0;

/// From one date until another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

impl Validity {
    /// When both are valid.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Why it is not valid, if it is not.
    pub fn fault(self, now: Timestamp) -> Option<String> {
        if now > self.until {
            return Some(format!("expired at {}", self.until));
        }
        (now < self.from).then(|| format!("is not valid before {}", self.from))
    }

    /// Days until it ends, with their fraction; negative when it has ended.
    pub fn days_left(self, now: Timestamp) -> f64 {
        self.until.since_ms(now) as f64 / DAY_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_to(from: i64, until: i64) -> Validity {
        Validity { from: Timestamp::from_ms(from), until: Timestamp::from_ms(until) }
    }

    #[test]
    fn both_dates_are_included() {
        let (validity, day) = (from_to(1000, 86_401_000), Timestamp::from_ms(1000));
        assert_eq!((validity.fault(day), validity.days_left(day)), (None, 1.0));
        assert_eq!(validity.fault(validity.until), None);
        let text = validity.fault(Timestamp::from_ms(999)).unwrap_or_default();
        assert_eq!(text, "is not valid before 1970-01-01T00:00:01Z");
        let text = validity.fault(Timestamp::from_ms(86_401_001)).unwrap_or_default();
        assert_eq!(text, "expired at 1970-01-02T00:00:01Z");
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        assert_eq!(from_to(1, 9).and(from_to(3, 5)), from_to(3, 5));
        assert_eq!(from_to(3, 9).and(from_to(1, 5)), from_to(3, 5));
    }
}
