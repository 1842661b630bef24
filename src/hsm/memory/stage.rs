//! The state of a mailbox: one word, which goes round in a circle.
//!
//! ```text
//!          service        a thread       the same thread       the same
//!   Free ──────────▶ Ready ───────▶ Taken ──────────────▶ Writing ─────▶ Done
//!    ▲                 │ service       │ service, which waits no more      │ service
//!    └─────────────────┴───────────────┴────────────────────────────────────┘
//! ```

/// How far the command in a mailbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum Stage {
    /// There is none.
    Free,
    /// It waits for a thread.
    Ready,
    /// A thread does it.
    Taken,
    /// Its answer is being written.
    Writing,
    /// Its answer is there.
    Done,
}

const STAGES: [Stage; 5] = [Stage::Free, Stage::Ready, Stage::Taken, Stage::Writing, Stage::Done];
const THREAD_SHIFT: u32 = 4;
/// 44 bits are left for the turn: 18 years at 30,000 commands a second.
const TURN_SHIFT: u32 = 20;

/// The number of a command. Those that come later have higher ones, and no two the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::hsm) struct Turn(pub(in crate::hsm) u64);

/// The state of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) struct MailboxState {
    pub(in crate::hsm) turn: Turn,
    /// The thread that has taken the command; 0 before.
    pub(in crate::hsm) thread: usize,
    pub(in crate::hsm) stage: Stage,
}

impl MailboxState {
    pub(super) const fn word(self) -> u64 {
        (self.turn.0 << TURN_SHIFT) | (((self.thread as u64) & 0xffff) << THREAD_SHIFT) | self.stage as u64
    }

    /// The state that a word says; `None` if no state is written so.
    pub(super) fn of(word: u64) -> Option<Self> {
        let stage = *STAGES.get(usize::from((word & 0xf) as u8))?;
        Some(Self { turn: Turn(word >> TURN_SHIFT), thread: usize::from((word >> THREAD_SHIFT) as u16), stage })
    }

    pub(super) const fn ready(turn: Turn) -> Self {
        Self { turn, thread: 0, stage: Stage::Ready }
    }

    pub(super) const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_written_and_read_and_no_other_word_is_one() {
        for stage in STAGES {
            let state = MailboxState { turn: Turn(123_456_789_012), thread: 402, stage };
            assert_eq!(MailboxState::of(state.word()), Some(state));
        }
        assert_eq!(MailboxState::of(0).map(|state| state.stage), Some(Stage::Free));
        assert_eq!(MailboxState::of(5), None);
        assert_eq!(MailboxState::of(0xf), None);
    }
}
