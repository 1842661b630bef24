//! The recovery of a member of the key store: a pure function from state and event to state
//! and act. Who acts, and when it is called, is `member`'s business.
//!
//! ```text
//!                 started                 strikes                    the known answer fails twice
//!   Starting ───────────────▶ Well ─────────────────▶ Sick ⇄ Probing ───────────────────────────▶ Starting (anew)
//!      ▲  │ start failed       │ ended                 ▲ answered                                       ▲
//!      │  ├─────────▶ Down ◀───┘                       └──▶ Well                                        │
//!      │  │             └──────────────── in its time ──────────────────────────────────────────────────┘
//!      │  └ PIN refused ──▶ Refused ── in its time: starts, and looks whether there is another PIN ──▶ Starting
//! ```
//!
//! Sessions that are lost, logins that are forgotten and handles that are stale are mended (`dispatch/attempts`),
//! call by call. Here is what is left when that does not help.
//!
//! No call waits for an HSM to come back: clients retry better than a service queues.

use std::time::{Duration, Instant};

use crate::hsm::error::Kind;

/// Failures in a row, with no success in between, that open the breaker.
const STRIKES: u64 = 3;

/// The first pause before a sick or ended member is tried again, and the longest. With the longest, a member whose HSM has come
/// back is well within two seconds, though the machine be busy and the start of its engine take more than one of them.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A member that was well for so long begins anew with short pauses.
const SETTLED: Duration = Duration::from_secs(3);

/// How often a member that waits for its operator looks whether there is another PIN, or a wrapping key now.
const NEW_PIN: Duration = Duration::from_millis(1500);

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum MemberState {
    /// Its engine is being started.
    Starting { failures: u32 },
    /// Calls go to it.
    Well { since: Instant, strikes: u64, failures: u32 },
    /// The breaker is open: calls go elsewhere or fail at once. A known answer is asked for at this time.
    Sick { until: Instant, failures: u32 },
    /// The known answer is being asked for.
    Probing { failures: u32 },
    /// Its engine does not run; it is started at this time.
    Down { until: Instant, failures: u32 },
    /// It refused the PIN, or has no wrapping key. At this time it is seen whether an operator has mended that.
    Refused { until: Instant },
}

/// An event in the life of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum MemberEvent {
    /// Its engine runs.
    Started,
    /// Its engine does not start.
    NotStarted(Kind),
    /// A call succeeded, or failed in a way that shows the HSM well.
    Answered,
    /// A call failed in this way.
    Failed(Kind),
    /// So many more calls have not returned when they should have.
    Hung(u64),
    /// The known answer came, or did not.
    Probed(bool),
    /// The engine's process has ended.
    Ended,
    /// The engine's process does not speak any more.
    Mute,
    /// The wrapping key is not on the token any more.
    Keyless,
    /// The time that the state waits for has come.
    Due,
}

/// The action that follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum MemberAction {
    Nothing,
    /// Ask for the known answer.
    Probe,
    /// Start an engine; one that still runs is ended first.
    Start,
}

impl MemberState {
    /// The time at which [`MemberEvent::Due`] is to come, if there is one.
    pub(in crate::hsm) fn due(&self) -> Option<Instant> {
        match self {
            Self::Sick { until, .. } | Self::Down { until, .. } | Self::Refused { until } => Some(*until),
            Self::Starting { .. } | Self::Well { .. } | Self::Probing { .. } => None,
        }
    }

    /// True if calls go to it.
    pub(in crate::hsm) fn is_well(&self) -> bool {
        matches!(self, Self::Well { .. })
    }

    fn failures(&self, now: Instant) -> u32 {
        match self {
            Self::Well { since, .. } if now.saturating_duration_since(*since) >= SETTLED => 0,
            Self::Starting { failures } | Self::Well { failures, .. } | Self::Sick { failures, .. } => *failures,
            Self::Probing { failures } | Self::Down { failures, .. } => *failures,
            Self::Refused { .. } => 0,
        }
    }
}

/// True if an error speaks against the HSM, as opposed to the caller, the key, or our own queue.
pub(in crate::hsm) fn is_strike(kind: Kind) -> bool {
    use Kind::*;
    matches!(kind, SessionLost | LoggedOut | DeviceLost | PinRefused | Ambiguous | Misconfigured)
}

/// The event that the end of a call is for the HSM; `None` if it may never have been asked.
pub(in crate::hsm) fn news_of(failure: Option<Kind>) -> Option<MemberEvent> {
    match failure {
        Some(Kind::Timeout | Kind::Busy) => None,
        Some(kind) if is_strike(kind) => Some(MemberEvent::Failed(kind)),
        Some(_) | None => Some(MemberEvent::Answered),
    }
}

fn strikes_of(event: MemberEvent) -> u64 {
    match event {
        MemberEvent::Hung(calls) => calls,
        MemberEvent::Failed(kind) => is_strike(kind).into(),
        _ => 0,
    }
}

/// The state that follows on `state` at `now`, and the action; `jitter` is from 0 to 1.
pub(in crate::hsm) fn next(
    state: MemberState,
    event: MemberEvent,
    now: Instant,
    jitter: f64,
) -> (MemberState, MemberAction) {
    let failures = state.failures(now);
    let until = now + pause(failures, jitter);
    let sick = |failures| (MemberState::Sick { until, failures }, MemberAction::Nothing);
    let down = (MemberState::Down { until, failures: failures + 1 }, MemberAction::Nothing);
    match (state, event) {
        (MemberState::Starting { .. }, MemberEvent::Started) => (well(now, failures), MemberAction::Nothing),
        (MemberState::Starting { .. }, MemberEvent::NotStarted(Kind::PinRefused | Kind::NoWrappingKey)) => {
            (MemberState::Refused { until: now + NEW_PIN }, MemberAction::Nothing)
        }
        (MemberState::Starting { .. }, MemberEvent::NotStarted(_) | MemberEvent::Ended | MemberEvent::Mute) => down,

        (MemberState::Well { .. }, MemberEvent::Failed(Kind::PinRefused) | MemberEvent::Keyless) => start(failures),
        (MemberState::Well { since, strikes, failures: before }, MemberEvent::Failed(_) | MemberEvent::Hung(_)) => {
            match strikes + strikes_of(event) {
                STRIKES.. => sick(failures),
                strikes => (MemberState::Well { since, strikes, failures: before }, MemberAction::Nothing),
            }
        }
        (MemberState::Well { since, failures, .. }, MemberEvent::Answered) => {
            (MemberState::Well { since, strikes: 0, failures }, MemberAction::Nothing)
        }

        (MemberState::Sick { .. }, MemberEvent::Due) => (MemberState::Probing { failures }, MemberAction::Probe),
        (MemberState::Probing { .. }, MemberEvent::Probed(true)) => (well(now, failures), MemberAction::Nothing),
        // The first time it may still be the same disturbance; after that a new login, session, process is tried.
        (MemberState::Probing { .. }, MemberEvent::Probed(false)) if failures == 0 => sick(failures + 1),
        (MemberState::Probing { .. }, MemberEvent::Probed(false)) => start(failures + 1),

        (MemberState::Down { .. } | MemberState::Refused { .. }, MemberEvent::Due) => start(failures),

        // One that was well for long is started at once.
        (_, MemberEvent::Ended) if failures == 0 && state.due().is_none() => start(1),
        (MemberState::Well { .. } | MemberState::Sick { .. } | MemberState::Probing { .. }, MemberEvent::Ended) => down,
        (MemberState::Well { .. } | MemberState::Sick { .. } | MemberState::Probing { .. }, MemberEvent::Mute) => {
            start(failures + 1)
        }

        (state, _) => (state, MemberAction::Nothing),
    }
}

fn well(since: Instant, failures: u32) -> MemberState {
    MemberState::Well { since, strikes: 0, failures }
}

fn start(failures: u32) -> (MemberState, MemberAction) {
    (MemberState::Starting { failures }, MemberAction::Start)
}

/// Twice as long each time, up to a bound, and never the same for two who began together.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = SHORTEST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    doubled.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member, driven by hand.
    struct Driven {
        state: MemberState,
        now: Instant,
    }

    impl Driven {
        fn well() -> Self {
            let mut driven = Self { state: MemberState::Starting { failures: 0 }, now: Instant::now() };
            assert_eq!(driven.on(MemberEvent::Started), MemberAction::Nothing);
            driven
        }

        fn on(&mut self, event: MemberEvent) -> MemberAction {
            let (state, action) = next(self.state, event, self.now, 0.5);
            self.state = state;
            action
        }

        /// Lets the time come that the state waits for; how long that was.
        fn wait(&mut self) -> Duration {
            let due = self.state.due().expect("a state that waits");
            let waited = due - self.now;
            self.now = due;
            waited
        }

        fn sicken(&mut self) {
            (0..STRIKES)
                .for_each(|_| assert_eq!(self.on(MemberEvent::Failed(Kind::DeviceLost)), MemberAction::Nothing));
            assert!(!self.state.is_well());
        }
    }

    #[test]
    fn the_breaker_opens_after_failures_in_a_row_and_no_others() {
        let mut member = Driven::well();
        for _ in 0..10 {
            member.on(MemberEvent::Failed(Kind::SessionLost));
            member.on(MemberEvent::Hung(1));
            member.on(MemberEvent::Answered);
        }
        assert!(member.state.is_well());
        for harmless in [Kind::Rejected, Kind::Unsupported, Kind::Busy, Kind::KeyMissing, Kind::Full, Kind::Bug] {
            (0..10).for_each(|_| assert_eq!(member.on(MemberEvent::Failed(harmless)), MemberAction::Nothing));
        }
        assert!(member.state.is_well());
        member.sicken();
    }

    #[test]
    fn late_in_the_queue_is_neither_for_the_hsm_nor_against_it() {
        assert_eq!([Kind::Timeout, Kind::Busy].map(|kind| news_of(Some(kind))), [None, None]);
        assert_eq!(news_of(Some(Kind::DeviceLost)), Some(MemberEvent::Failed(Kind::DeviceLost)));
        assert_eq!([None, Some(Kind::Rejected)].map(news_of), [Some(MemberEvent::Answered); 2]);
    }

    #[test]
    fn calls_that_do_not_return_open_the_breaker_one_by_one_or_at_once() {
        for hung in [[1, 1, 1], [2, 0, 1], [0, 0, 8]] {
            let mut member = Driven::well();
            for calls in hung {
                assert!(member.state.is_well(), "{hung:?}");
                assert_eq!(member.on(MemberEvent::Hung(calls)), MemberAction::Nothing);
            }
            assert!(!member.state.is_well(), "{hung:?}");
        }
    }

    #[test]
    fn a_sick_member_is_asked_a_known_answer_and_comes_back() {
        let mut member = Driven::well();
        member.sicken();
        assert!(member.wait() < Duration::from_millis(200));
        assert_eq!(member.on(MemberEvent::Due), MemberAction::Probe);
        assert_eq!(member.on(MemberEvent::Probed(true)), MemberAction::Nothing);
        assert!(member.state.is_well());
    }

    #[test]
    fn a_member_that_stays_sick_is_started_anew_again_and_again_never_more_than_half_a_second_apart() {
        let mut member = Driven::well();
        member.sicken();
        member.wait();
        assert_eq!(member.on(MemberEvent::Due), MemberAction::Probe);
        assert_eq!(member.on(MemberEvent::Probed(false)), MemberAction::Nothing);
        member.wait();
        assert_eq!(member.on(MemberEvent::Due), MemberAction::Probe);
        assert_eq!(member.on(MemberEvent::Probed(false)), MemberAction::Start);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(member.on(MemberEvent::NotStarted(Kind::DeviceLost)), MemberAction::Nothing);
            pauses.push(member.wait());
            assert_eq!(member.on(MemberEvent::Due), MemberAction::Start);
        }
        assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= Duration::from_millis(500)), "{pauses:?}");
        assert_eq!(member.on(MemberEvent::Started), MemberAction::Nothing);
        assert!(member.state.is_well());
    }

    #[test]
    fn a_worker_that_ends_is_started_at_once_and_one_that_keeps_ending_with_pauses() {
        let mut member = Driven::well();
        member.now += SETTLED;
        assert_eq!(member.on(MemberEvent::Ended), MemberAction::Start);
        for _ in 0..5 {
            assert_eq!(member.on(MemberEvent::Started), MemberAction::Nothing);
            assert_eq!(member.on(MemberEvent::Ended), MemberAction::Nothing);
            assert!(member.wait() >= SHORTEST_PAUSE);
            assert_eq!(member.on(MemberEvent::Due), MemberAction::Start);
        }
        member.on(MemberEvent::Started);
        member.now += SETTLED;
        assert_eq!(member.on(MemberEvent::Ended), MemberAction::Start, "it was well for long");
    }

    #[test]
    fn a_mute_worker_is_started_anew_in_any_state_in_which_it_runs() {
        for sick in [false, true] {
            let mut member = Driven::well();
            if sick {
                member.sicken();
            }
            assert_eq!(member.on(MemberEvent::Mute), MemberAction::Start);
        }
    }

    #[test]
    fn a_refused_pin_waits_for_another_one() {
        let mut member = Driven::well();
        assert_eq!(member.on(MemberEvent::Failed(Kind::PinRefused)), MemberAction::Start);
        assert_eq!(member.on(MemberEvent::NotStarted(Kind::PinRefused)), MemberAction::Nothing);
        assert_eq!(member.wait(), NEW_PIN);
        assert_eq!(member.on(MemberEvent::Due), MemberAction::Start);
        assert_eq!(member.on(MemberEvent::Started), MemberAction::Nothing);
        assert!(member.state.is_well());
    }

    #[test]
    fn nothing_that_comes_late_disturbs() {
        let mut member = Driven::well();
        for late in
            [MemberEvent::Started, MemberEvent::NotStarted(Kind::Timeout), MemberEvent::Probed(false), MemberEvent::Due]
        {
            assert_eq!(member.on(late), MemberAction::Nothing);
            assert!(member.state.is_well());
        }
        member.sicken();
        for late in [MemberEvent::Answered, MemberEvent::Hung(1), MemberEvent::Probed(true), MemberEvent::Started] {
            assert_eq!(member.on(late), MemberAction::Nothing);
            assert!(matches!(member.state, MemberState::Sick { .. }));
        }
    }

    #[test]
    fn pauses_differ_by_jitter_and_stay_within_bounds() {
        for failures in 0..40 {
            let (low, high) = (pause(failures, 0.0), pause(failures, 1.0));
            assert!(low < high && low >= SHORTEST_PAUSE / 2 && high <= Duration::from_millis(500), "{low:?} {high:?}");
        }
        let quarter = SHORTEST_PAUSE / 4;
        assert_eq!([pause(0, 0.0), pause(0, 1.0)], [SHORTEST_PAUSE - quarter, SHORTEST_PAUSE + quarter]);
    }

    #[test]
    fn every_failure_is_counted() {
        let now = Instant::now();
        for failures in [0, 1, 5] {
            let after = |state, event| next(state, event, now, 0.5).0.failures(now);
            let started = MemberState::Well { since: now, strikes: 0, failures };
            for (state, event) in [
                (MemberState::Starting { failures }, MemberEvent::NotStarted(Kind::DeviceLost)),
                (MemberState::Probing { failures }, MemberEvent::Probed(false)),
                (MemberState::Probing { failures }, MemberEvent::Mute),
                (started, MemberEvent::Mute),
                (started, MemberEvent::Ended),
            ] {
                assert_eq!(after(state, event), failures + 1, "{state:?} {event:?}");
            }
        }
    }
}
