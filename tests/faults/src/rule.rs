//! A rule: which calls it is about, and what happens to them.

use serde::{Deserialize, Serialize};

/// `Rule::on("C_Encrypt").nth(2).once().answer(CKR_DEVICE_ERROR)`.
///
/// Matching calls are counted in each instance of the module since the rule was installed there. A rule acts on every
/// matching call from the `nth` on until it has acted `times` times; those times are shared with instances that are gone, so
/// that a worker that comes back after a crash does not crash again by a rule that was to act once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the function; none is any.
    pub function: Option<String>,
    /// The virtual handle of the session, as [`crate::control::Call`] shows it.
    pub session: Option<u64>,
    /// The slot that the call is about; calls of a session are about none.
    pub slot: Option<u64>,
    /// The type of the mechanism: of the call or, when it has none, of the session's operation.
    pub mechanism: Option<u64>,
    /// The first matching call on which it acts, from 1.
    pub nth: u64,
    /// How often it acts; none is always.
    pub times: Option<u64>,
    /// The probability with which it acts, decided by `seed` and the number of the matching call.
    pub chance: Option<f64>,
    pub seed: u64,
    /// It acts in this window of milliseconds since it was installed.
    pub from_ms: u64,
    pub until_ms: Option<u64>,
    pub when: When,
    pub action: Action,
}

/// Before the real call, or after it: then the HSM has done it, and only the answer suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    Before,
    After,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// This code instead of the call, or instead of its answer.
    Answer(u64),
    Delay(Delay),
    /// Goes on when it is released or its rule is removed.
    Hang,
    /// Never goes on.
    HangForEver,
    /// A hang that the controller can wait for: a barrier.
    Stop,
    /// Flips the lowest bit of the first byte of each output.
    FlipBit,
    /// Exchanges the output with that of the next call in another session; waits two seconds for it.
    Swap,
    Length(Lie),
    Tell(Tale),
    /// Random bytes are all of this value.
    ConstantRandom(u8),
    /// Random bytes are those of the first call, again and again.
    RepeatRandom,
    /// On a work function: answers the code without calling it, so its operation stays active. On an Init: that is real, and
    /// the work function after it fails so.
    LeaveActive(u64),
    Crash(Crash),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Delay {
    Fixed { micros: u64 },
    Uniform { from_micros: u64, to_micros: u64 },
    LogNormal { median_micros: u64, sigma: f64 },
}

/// What the module says about the length of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// So many bytes more than there are.
    Longer(u64),
    Shorter(u64),
    /// CKR_BUFFER_TOO_SMALL, whatever its size; the operation stays active, as PKCS#11 has it.
    TooSmall,
}

/// What C_GetInfo, C_GetSlotInfo and C_GetTokenInfo say, beside what matters: the label, by which callers know a token, and
/// the flags about PINs and of whether it is there and initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tale {
    /// Each text but the label is blank.
    Blanks,
    /// Each text ends in a zero byte, and what comes after it is of yesterday.
    Zeros,
    /// Each text but the label fills its place.
    Unpadded,
    /// Each text but the label is no text.
    Garbage,
    /// All flags are set, and the time is none.
    Flags,
    /// Each number is this, and each version.
    Numbers(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    Segv,
    Abort,
    Exit(i32),
}

impl Rule {
    /// About the calls of one function; does nothing yet.
    pub fn on(function: &str) -> Self {
        Self { function: Some(function.to_owned()), ..Self::on_any() }
    }

    /// About every call.
    pub fn on_any() -> Self {
        Self {
            function: None,
            session: None,
            slot: None,
            mechanism: None,
            nth: 1,
            times: None,
            chance: None,
            seed: 0,
            from_ms: 0,
            until_ms: None,
            when: When::Before,
            action: Action::Delay(Delay::Fixed { micros: 0 }),
        }
    }

    /// Not before the n-th matching call.
    pub fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    pub fn once(self) -> Self {
        self.times(1)
    }

    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    pub fn session(self, session: u64) -> Self {
        Self { session: Some(session), ..self }
    }

    pub fn slot(self, slot: u64) -> Self {
        Self { slot: Some(slot), ..self }
    }

    pub fn mechanism(self, mechanism: u64) -> Self {
        Self { mechanism: Some(mechanism), ..self }
    }

    pub fn chance(self, chance: f64, seed: u64) -> Self {
        Self { chance: Some(chance), seed, ..self }
    }

    pub fn window_ms(self, from_ms: u64, until_ms: u64) -> Self {
        Self { from_ms, until_ms: Some(until_ms), ..self }
    }

    pub fn before(self) -> Self {
        Self { when: When::Before, ..self }
    }

    pub fn after(self) -> Self {
        Self { when: When::After, ..self }
    }

    pub fn act(self, action: Action) -> Self {
        Self { action, ..self }
    }

    pub fn answer(self, code: u64) -> Self {
        self.act(Action::Answer(code))
    }

    pub fn delay_ms(self, millis: u64) -> Self {
        self.act(Action::Delay(Delay::Fixed { micros: millis * 1000 }))
    }

    pub fn hang(self) -> Self {
        self.act(Action::Hang)
    }

    pub fn stop(self) -> Self {
        self.act(Action::Stop)
    }

    pub fn flip_bit(self) -> Self {
        self.act(Action::FlipBit)
    }

    /// `by` more than there are.
    pub fn longer(self, by: u64) -> Self {
        self.act(Action::Length(Lie::Longer(by)))
    }

    pub fn tell(self, tale: Tale) -> Self {
        self.act(Action::Tell(tale))
    }

    pub fn crash(self, crash: Crash) -> Self {
        self.act(Action::Crash(crash))
    }
}
