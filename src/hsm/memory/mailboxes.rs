//! Mailboxes: each has room for one command, and then for its answer.
//!
//! Whatever is read here may have been written by a module that has lost its way. So a length is believed only within the mailbox,
//! bytes only with their checksum, and a state only if it can follow on the last.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::FixedState;
use zeroize::Zeroizing;

use super::layout::MAILBOX_BYTES;
use super::moment::Moment;
use super::stage::{MailboxState, Stage, Turn};

/// Words before the bytes of a mailbox: when its command was begun, the length and the checksum of the bytes.
const HEAD_WORDS: usize = 3;
const WORD_BYTES: usize = size_of::<u64>();
const MAILBOX_WORDS: usize = HEAD_WORDS + MAILBOX_BYTES / WORD_BYTES;

/// Somebody else has written into the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) struct Corrupted;

/// All mailboxes: their states, and then what is in them.
#[derive(Clone, Copy)]
pub(in crate::hsm) struct Mailboxes<'a> {
    states: &'a [AtomicU64],
    contents: &'a [AtomicU64],
    /// Makes a checksum that nothing but this conversation has.
    seed: u64,
}

/// The words that so many mailboxes take up.
pub(super) const fn words(mailboxes: usize) -> usize {
    mailboxes * (1 + MAILBOX_WORDS)
}

impl<'a> Mailboxes<'a> {
    pub(super) fn new(words: &'a [AtomicU64], mailboxes: usize, seed: u64) -> Self {
        let (states, contents) = words.split_at(mailboxes.min(words.len()));
        Self { states, contents, seed }
    }

    /// The state of a mailbox.
    ///
    /// # Errors
    /// If it says what is no state.
    pub(in crate::hsm) fn state(&self, mailbox: usize) -> Result<MailboxState, Corrupted> {
        self.states.get(mailbox).and_then(|word| MailboxState::of(word.load(Ordering::Acquire))).ok_or(Corrupted)
    }

    /// Puts a command, which is not longer than a mailbox, into a mailbox that is free.
    ///
    /// # Errors
    /// If the mailbox is not free.
    pub(in crate::hsm) fn put(&self, mailbox: usize, turn: Turn, command: &[u8]) -> Result<(), Corrupted> {
        if self.state(mailbox)?.stage != Stage::Free || !self.write(mailbox, turn, command) {
            return Err(Corrupted);
        }
        if let Some(state) = self.states.get(mailbox) {
            // In one order with a thread's going to sleep: it sees the command, or is seen asleep.
            state.store(MailboxState::ready(turn).word(), Ordering::SeqCst);
        }
        Ok(())
    }

    /// The first command of these mailboxes that waits, for `thread`.
    pub(in crate::hsm) fn claim(&self, mailboxes: Range<usize>, thread: usize) -> Option<(usize, Turn)> {
        loop {
            let ready = |mailbox: usize| {
                let state = MailboxState::of(self.states.get(mailbox)?.load(Ordering::SeqCst))?;
                (state.stage == Stage::Ready).then_some((state.turn, mailbox))
            };
            let (turn, mailbox) = mailboxes.clone().filter_map(ready).min()?;
            let ready = MailboxState::ready(turn);
            if self.moves(mailbox, ready, MailboxState { thread, ..ready.at(Stage::Taken) }) {
                return Some((mailbox, turn));
            }
        }
    }

    /// Puts a command back that this thread has taken and cannot do.
    pub(in crate::hsm) fn give_back(&self, mailbox: usize, turn: Turn, thread: usize) {
        let taken = MailboxState { turn, thread, stage: Stage::Taken };
        self.moves(mailbox, taken, MailboxState::ready(turn));
    }

    /// Writes the answer to the command that this thread has taken; false if nobody waits for it any more, or it is too long.
    pub(in crate::hsm) fn answer(&self, mailbox: usize, turn: Turn, thread: usize, answer: &[u8]) -> bool {
        let taken = MailboxState { turn, thread, stage: Stage::Taken };
        let writing = taken.at(Stage::Writing);
        self.moves(mailbox, taken, writing)
            && self.write(mailbox, turn, answer)
            && self.moves(mailbox, writing, taken.at(Stage::Done))
    }

    /// The answer to a command of so many bytes, if it is there; the mailbox is then free.
    ///
    /// # Errors
    /// If the mailbox is not as this command can have left it.
    pub(in crate::hsm) fn take_answer(
        &self,
        mailbox: usize,
        turn: Turn,
        command_bytes: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Corrupted> {
        let state = self.state(mailbox)?;
        if state.turn != turn || state.stage == Stage::Free {
            return Err(Corrupted);
        }
        if state.stage != Stage::Done {
            return Ok(None);
        }
        let answer = self.read(mailbox, turn)?;
        self.free(mailbox, command_bytes.max(answer.len()));
        Ok(Some(answer))
    }

    /// Takes a command back that nobody has taken, or nobody waits for; the thread that may have taken it. `None` if it is too
    /// late for that, for its answer is there or coming.
    pub(in crate::hsm) fn take_back(&self, mailbox: usize, turn: Turn, stage: Stage) -> Option<usize> {
        let state = self.state(mailbox).ok().filter(|state| state.turn == turn && state.stage == stage)?;
        if !matches!(stage, Stage::Ready | Stage::Taken) || !self.moves(mailbox, state, state.at(Stage::Free)) {
            return None;
        }
        self.wipe(mailbox, MAILBOX_BYTES);
        Some(state.thread)
    }

    /// The command or answer in a mailbox.
    ///
    /// # Errors
    /// If it is not what was written there for this turn.
    pub(in crate::hsm) fn read(&self, mailbox: usize, turn: Turn) -> Result<Zeroizing<Vec<u8>>, Corrupted> {
        let ([_, length, checksum], words) = self.content(mailbox).ok_or(Corrupted)?;
        let length = usize::try_from(length.load(Ordering::Relaxed)).map_err(|_| Corrupted)?;
        let words = words.get(..length.div_ceil(WORD_BYTES)).ok_or(Corrupted)?;
        let mut bytes = Zeroizing::new(vec![0; words.len() * WORD_BYTES]);
        for (chunk, word) in bytes.as_chunks_mut::<WORD_BYTES>().0.iter_mut().zip(words) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        bytes.truncate(length);
        match checksum.load(Ordering::Relaxed) == self.checksum(turn, &bytes) {
            true => Ok(bytes),
            false => Err(Corrupted),
        }
    }

    /// When the thread that has taken the command began with the calls to the HSM; `None` while it waits for what is not the
    /// HSM's to give.
    pub(in crate::hsm) fn began(&self, mailbox: usize) -> Option<Moment> {
        let ([began, ..], _) = self.content(mailbox)?;
        Some(began.load(Ordering::Relaxed)).filter(|began| *began != 0).map(Moment)
    }

    /// Notes when the calls to the HSM began, or that none is being made.
    pub(in crate::hsm) fn note_began(&self, mailbox: usize, began: Option<Moment>) {
        if let Some(([word, ..], _)) = self.content(mailbox) {
            word.store(began.map_or(0, |Moment(nanos)| nanos), Ordering::Relaxed);
        }
    }

    /// True if this thread has taken the command in a mailbox, and nobody has taken it back.
    pub(in crate::hsm) fn is_taken(&self, mailbox: usize, turn: Turn, thread: usize) -> bool {
        self.state(mailbox).is_ok_and(|state| state == MailboxState { turn, thread, stage: Stage::Taken })
    }

    /// True if a command waits in one of these mailboxes.
    pub(in crate::hsm) fn has_ready(&self, mut mailboxes: Range<usize>) -> bool {
        let is_ready = |mailbox: usize| {
            let word = self.states.get(mailbox)?.load(Ordering::SeqCst);
            MailboxState::of(word).map(|state| state.stage == Stage::Ready)
        };
        mailboxes.any(|mailbox| is_ready(mailbox) == Some(true))
    }

    fn write(&self, mailbox: usize, turn: Turn, bytes: &[u8]) -> bool {
        let Some(([began, length, checksum], words)) = self.content(mailbox) else { return false };
        if bytes.len() > words.len() * WORD_BYTES {
            return false;
        }
        began.store(0, Ordering::Relaxed);
        length.store(bytes.len() as u64, Ordering::Relaxed);
        checksum.store(self.checksum(turn, bytes), Ordering::Relaxed);
        let (whole, rest) = bytes.as_chunks::<WORD_BYTES>();
        let mut last = [0; WORD_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        for (word, chunk) in words.iter().zip(whole.iter().chain([&last])) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        true
    }

    fn free(&self, mailbox: usize, bytes: usize) {
        self.wipe(mailbox, bytes);
        if let Some(state) = self.states.get(mailbox) {
            state.store(MailboxState { turn: Turn(0), thread: 0, stage: Stage::Free }.word(), Ordering::Release);
        }
    }

    /// Overwrites the first `bytes` of a mailbox with zeros.
    fn wipe(&self, mailbox: usize, bytes: usize) {
        let Some((_, words)) = self.content(mailbox) else { return };
        words.iter().take(bytes.div_ceil(WORD_BYTES)).for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Writes into the bytes of a mailbox.
    #[cfg(test)]
    pub(super) fn corrupt(&self, mailbox: usize) {
        let (_, words) = self.content(mailbox).unwrap();
        words[0].fetch_xor(1 << 20, Ordering::Relaxed);
    }

    /// True if nothing is left in a mailbox.
    #[cfg(test)]
    pub(super) fn is_wiped(&self, mailbox: usize) -> bool {
        let (_, words) = self.content(mailbox).unwrap();
        words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    fn moves(&self, mailbox: usize, from: MailboxState, to: MailboxState) -> bool {
        let moved = |state: &AtomicU64| {
            state.compare_exchange(from.word(), to.word(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        self.states.get(mailbox).is_some_and(moved)
    }

    fn content(&self, mailbox: usize) -> Option<(&'a [AtomicU64; HEAD_WORDS], &'a [AtomicU64])> {
        let begin = mailbox.checked_mul(MAILBOX_WORDS)?;
        self.contents.get(begin..begin + MAILBOX_WORDS)?.split_first_chunk()
    }

    fn checksum(&self, turn: Turn, bytes: &[u8]) -> u64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write_u64(turn.0);
        hasher.write(bytes);
        hasher.finish()
    }
}
