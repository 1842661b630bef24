//! The last calls: when, which thread, which function and session, what came back and how long it took. No data, no PIN.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::thread;
use crate::function::Function;
use crate::wire::{Entry, Outcome};

/// So many calls are remembered.
const ROOM: u64 = 1 << 15;

/// In place of a duration while the call has not come back.
const UNDER_WAY: u64 = u64::MAX;

pub struct Trace {
    next: AtomicU64,
    ring: Vec<Place>,
}

/// A call in the ring. The number is written last and read twice: a reader sees whole calls or none.
#[derive(Default)]
struct Place {
    number: AtomicU64,
    micros: AtomicU64,
    thread: AtomicU64,
    function: AtomicU64,
    session: AtomicU64,
    code: AtomicU64,
    took: AtomicU64,
}

/// A call that has been noted and is to be completed.
pub struct Record {
    number: u64,
    begun: u64,
}

impl Trace {
    pub fn new() -> Self {
        Self { next: AtomicU64::new(1), ring: (0..ROOM).map(|_| Place::default()).collect() }
    }

    pub fn begin(&self, function: Function, session: u64) -> Record {
        let record = Record { number: self.next.fetch_add(1, Ordering::Relaxed), begun: thread::micros() };
        let place = self.place(record.number);
        place.number.store(0, Ordering::Release);
        place.micros.store(record.begun, Ordering::Relaxed);
        place.thread.store(thread::id(), Ordering::Relaxed);
        place.function.store(function as u64, Ordering::Relaxed);
        place.session.store(session, Ordering::Relaxed);
        place.took.store(UNDER_WAY, Ordering::Relaxed);
        place.number.store(record.number, Ordering::Release);
        record
    }

    pub fn end(&self, record: Record, code: u64) {
        let place = self.place(record.number);
        // The ring has gone round meanwhile.
        if place.number.load(Ordering::Acquire) != record.number {
            return;
        }
        place.code.store(code, Ordering::Relaxed);
        place.took.store(thread::micros() - record.begun, Ordering::Release);
    }

    /// The calls from this number on that are still remembered.
    pub fn entries(&self, from: u64) -> Vec<Entry> {
        let next = self.next.load(Ordering::Acquire);
        let oldest = next.saturating_sub(ROOM).max(1);
        (from.max(oldest)..next).filter_map(|number| self.place(number).entry(number)).collect()
    }

    /// To the file `trace-<pid>`, a line for each call.
    pub fn flush(&self, dir: &Path) {
        let lines: Vec<_> = self.entries(0).iter().filter_map(|entry| serde_json::to_string(entry).ok()).collect();
        let file = std::fs::File::create(dir.join(format!("trace-{}", std::process::id())));
        // The process is about to die, and the order was not to keep it alive for want of a disk.
        let _ = file.and_then(|mut file| file.write_all((lines.join("\n") + "\n").as_bytes()));
    }

    fn place(&self, number: u64) -> &Place {
        &self.ring[(number % ROOM) as usize]
    }
}

impl Place {
    fn entry(&self, number: u64) -> Option<Entry> {
        let is_it = || self.number.load(Ordering::Acquire) == number;
        if !is_it() {
            return None;
        }
        let took = self.took.load(Ordering::Acquire);
        let code = self.code.load(Ordering::Relaxed);
        let entry = Entry {
            number,
            micros: self.micros.load(Ordering::Relaxed),
            thread: self.thread.load(Ordering::Relaxed),
            function: Function::ALL.get(self.function.load(Ordering::Relaxed) as usize)?.name().to_owned(),
            session: self.session.load(Ordering::Relaxed),
            outcome: (took != UNDER_WAY).then_some(Outcome { code, micros: took }),
        };
        is_it().then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_remembered_in_order_and_those_under_way_are_seen() {
        let trace = Trace::new();
        let first = trace.begin(Function::C_EncryptInit, 5);
        let _second = trace.begin(Function::C_Encrypt, 5);
        trace.end(first, 7);
        let entries = trace.entries(0);
        assert_eq!(
            entries.iter().map(|entry| entry.function.as_str()).collect::<Vec<_>>(),
            ["C_EncryptInit", "C_Encrypt"]
        );
        assert_eq!(entries[0].outcome.map(|outcome| outcome.code), Some(7));
        assert_eq!((entries[1].outcome, entries[1].session), (None, 5));
        assert_eq!(trace.entries(2), entries[1..]);
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let trace = Trace::new();
        for _ in 0..ROOM + 10 {
            let record = trace.begin(Function::C_Sign, 1);
            trace.end(record, 0);
        }
        let entries = trace.entries(0);
        assert_eq!((entries.len() as u64, entries[0].number), (ROOM, 11));
    }
}
