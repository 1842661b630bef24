//! Running time, counted from heartbeat to heartbeat, and jumps of the clock. Everything here is pure.
//!
//! A heartbeat is the state of running time, which the store keeps. Each process adds one each minute. Between two of them as much time has
//! run as both clocks saw pass: the process's own, which nobody can set, since its own last heartbeat, and the date since the
//! last heartbeat of any process. So a jump adds nothing, and two processes do not count the same minute twice.
//!
//! Where the two clocks differ by more than [`TOLERANCE`], somebody has set the date, or the machine slept. Neither says
//! which date is right, so an operator does; until then nothing is done by date that cannot be undone.

use std::time::Duration;

use super::{Running, Timestamp};

/// How far the date may move against running time between two heartbeats.
pub const TOLERANCE: Duration = Duration::from_secs(60 * 60);

/// The state of running time, as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The date of the first heartbeat.
    pub began: Timestamp,
    /// The date of the last heartbeat.
    pub last: Timestamp,
    /// How long the deployment has run.
    pub running: Running,
    /// The first jump of the date since an operator last confirmed it.
    pub jump: Option<Jump>,
}

/// A jump of the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// The date if it had not jumped.
    pub from: Timestamp,
    /// The date to which it jumped.
    pub to: Timestamp,
}

/// Both clocks of a process, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The date.
    pub now: Timestamp,
    /// The process's own clock, which nobody can set.
    pub uptime: Duration,
}

impl Heartbeat {
    /// The first heartbeat of a deployment.
    pub fn first(now: Timestamp) -> Self {
        Self { began: now, last: now, running: Running::default(), jump: None }
    }

    /// The next heartbeat, of a process that read `before` at its own last one, if it had one.
    #[must_use]
    pub fn next(self, before: Option<Reading>, reading: Reading) -> Self {
        let ran = before.map_or(Duration::ZERO, |before| reading.uptime.saturating_sub(before.uptime));
        let passed = Duration::from_millis(u64::try_from(reading.now.since_ms(self.last)).unwrap_or(0));
        let jump = self.jump.or_else(|| self.jump_to(before, reading));
        Self { last: reading.now, running: self.running.plus(ran.min(passed)), jump, ..self }
    }

    /// The jump between two readings, if there was one. A new process has no reading before, and can only tell that the date is
    /// before the last heartbeat.
    fn jump_to(&self, before: Option<Reading>, reading: Reading) -> Option<Jump> {
        let tolerance = i64::try_from(TOLERANCE.as_millis()).unwrap_or(i64::MAX);
        let to = reading.now;
        let from = match before {
            Some(before) => before.now.plus(reading.uptime.saturating_sub(before.uptime)),
            None => self.last.max(to),
        };
        (to.since_ms(from).saturating_abs() > tolerance).then_some(Jump { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_767_225_600_000);
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// The reading after so many milliseconds of running, with the date moved by `jump`.
    fn reading(ran: i64, jump: i64) -> Reading {
        let uptime = Duration::from_millis(u64::try_from(ran).expect("not negative"));
        Reading { now: Timestamp::from_ms(START.ms() + ran + jump), uptime }
    }

    fn first() -> (Heartbeat, Reading) {
        (Heartbeat::first(START), reading(0, 0))
    }

    #[test]
    fn time_runs_as_it_passes() {
        let (first, before) = first();
        let next = first.next(Some(before), reading(MINUTE, 0));
        assert_eq!(next, Heartbeat { last: START.plus(Duration::from_secs(60)), running: Running(60_000), ..first });
    }

    #[test]
    fn a_jump_adds_nothing_and_is_noted_beyond_an_hour() {
        let (first, before) = first();
        for jump in [0, 1, 1000, HOUR - 1, HOUR, HOUR + 1, 24 * HOUR, 87_600 * HOUR, i64::MAX / 2] {
            for jump in [jump, -jump] {
                let next = first.next(Some(before), reading(MINUTE, jump));
                assert!(next.running <= Running(60_000), "{jump}: {next:?}");
                assert_eq!(next.jump.is_some(), jump.abs() > HOUR, "{jump}");
            }
        }
    }

    #[test]
    fn a_jump_is_remembered_when_the_date_goes_back_to_where_it_was() {
        let (first, before) = first();
        let (ahead, back) = (reading(MINUTE, 2 * HOUR), reading(2 * MINUTE, 0));
        let jumped = first.next(Some(before), ahead);
        let next = jumped.next(Some(ahead), back);
        assert_eq!(next.jump, Some(Jump { from: reading(MINUTE, 0).now, to: ahead.now }));
        // The minute in which it went back is lost, and the next one is not.
        assert_eq!(next.running, Running(60_000));
        assert_eq!(next.next(Some(back), reading(3 * MINUTE, 0)).running, Running(120_000));
    }

    #[test]
    fn time_that_nobody_ran_is_not_counted_and_is_no_jump() {
        let (first, _) = first();
        let after_a_year = Reading { now: START.plus(super::super::days(365)), uptime: Duration::from_secs(1) };
        let next = first.next(None, after_a_year);
        assert_eq!((next.running, next.jump), (Running(0), None));
    }

    #[test]
    fn a_date_before_the_last_heartbeat_is_a_jump_at_a_start_too() {
        let (first, _) = first();
        for (back, is_jump) in [(HOUR, false), (HOUR + 1, true), (START.ms(), true)] {
            let next = first.next(None, Reading { now: Timestamp::from_ms(START.ms() - back), uptime: Duration::ZERO });
            assert_eq!((next.jump.is_some(), next.running), (is_jump, Running(0)), "{back}");
        }
    }

    #[test]
    fn two_processes_count_a_minute_once() {
        let (mut heartbeat, mut one) = first();
        let mut other = reading(0, 0);
        for half_minutes in 1..=20 {
            let now = reading(half_minutes * MINUTE / 2, 0);
            let turn = if half_minutes % 2 == 0 { &mut one } else { &mut other };
            heartbeat = heartbeat.next(Some(*turn), now);
            *turn = now;
        }
        assert_eq!((heartbeat.running, heartbeat.jump), (Running(600_000), None));
    }
}
