//! Who is next, at an HSM and at the store. Askers take turns, and what one asks for is done in its order; so however much one asks
//! for, another waits for one of it at each turn.
//!
//! A new line is looked for by going through all: a thousand of them take less time than one call to an HSM.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::identity::Asker;

/// Emptied lines that are kept, so that a few askers who come and go cost no allocation.
const SPARE_LINES: usize = 8;

/// What can wait.
pub trait Waiting {
    /// Who waits.
    fn asker(&self) -> Asker;
    /// How long it will take, as far as that is known before.
    fn class(&self) -> Class;
}

/// Commands that take about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One AES call on a few kilobytes.
    Aes,
    /// Anything else.
    Other,
}

/// How many of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Of AES calls.
    pub aes: usize,
    /// Of all others.
    pub other: usize,
}

/// Lines of those who wait, one for each asker.
pub struct Turns<T> {
    /// The first has the next turn. None is empty.
    lines: VecDeque<Line<T>>,
    spare: Vec<VecDeque<T>>,
    len: usize,
}

struct Line<T> {
    asker: Asker,
    waiting: VecDeque<T>,
    count: Count,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { lines: VecDeque::new(), spare: Vec::new(), len: 0 }
    }
}

impl<T: Waiting> Turns<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last of its asker's.
    pub fn push(&mut self, item: T) {
        let at = self.line_of(item.asker()).unwrap_or_else(|| {
            let line = self.new_line(item.asker());
            self.lines.push_back(line);
            self.lines.len() - 1
        });
        self.len += 1;
        if let Some(line) = self.lines.get_mut(at) {
            line.count.add(item.class());
            line.waiting.push_back(item);
        }
    }

    /// The next of all: it had its turn and could not use it.
    pub fn push_front(&mut self, item: T) {
        let line = self.line_of(item.asker()).and_then(|at| self.lines.remove(at));
        let mut line = line.unwrap_or_else(|| self.new_line(item.asker()));
        self.len += 1;
        line.count.add(item.class());
        line.waiting.push_front(item);
        self.lines.push_front(line);
    }

    /// Whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let mut line = self.lines.pop_front()?;
        let item = line.waiting.pop_front()?;
        line.count.remove(item.class());
        self.len -= 1;
        match line.waiting.is_empty() {
            true => self.keep_spare(line.waiting),
            false => self.lines.push_back(line),
        }
        Some(item)
    }

    /// Takes the newest from the asker that has the most.
    pub fn push_out(&mut self) -> Option<T> {
        let (at, _) = self.lines.iter().enumerate().max_by_key(|(_, line)| line.waiting.len())?;
        let line = self.lines.get_mut(at)?;
        let item = line.waiting.pop_back()?;
        line.count.remove(item.class());
        self.len -= 1;
        if line.waiting.is_empty() {
            let emptied = self.lines.remove(at)?;
            self.keep_spare(emptied.waiting);
        }
        Some(item)
    }

    /// Whether `asker` has less than its share of `limit` places, so that another may have to give one up.
    pub fn owes_a_place(&self, asker: Asker, limit: usize) -> bool {
        match self.line_of(asker).and_then(|at| self.lines.get(at)) {
            Some(line) => is_below_share(line.waiting.len(), limit, self.lines.len()),
            None => is_below_share(0, limit, self.lines.len() + 1),
        }
    }

    /// What is done before the next command of `asker`, if nobody new comes.
    pub fn ahead_of(&self, asker: Asker) -> Count {
        let at = self.line_of(asker).unwrap_or(self.lines.len());
        let own = self.lines.get(at).map_or(0, |line| line.waiting.len());
        let before = |(i, line): (usize, &Line<T>)| line.first(own + usize::from(i < at));
        self.lines.iter().enumerate().map(before).fold(Count::default(), Count::plus)
    }

    fn line_of(&self, asker: Asker) -> Option<usize> {
        self.lines.iter().position(|line| line.asker == asker)
    }

    fn new_line(&mut self, asker: Asker) -> Line<T> {
        Line { asker, waiting: self.spare.pop().unwrap_or_default(), count: Count::default() }
    }

    fn keep_spare(&mut self, emptied: VecDeque<T>) {
        if self.spare.len() < SPARE_LINES {
            self.spare.push(emptied);
        }
    }
}

impl<T> Line<T> {
    /// How many of each class are among the first `turns`, as if they were mixed evenly.
    fn first(&self, turns: usize) -> Count {
        let all = self.waiting.len();
        if turns >= all {
            return self.count;
        }
        Count { aes: self.count.aes * turns / all, other: self.count.other * turns / all }
    }
}

impl Count {
    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Aes => &mut self.aes,
            Class::Other => &mut self.other,
        }
    }

    fn add(&mut self, class: Class) {
        *self.of(class) += 1;
    }

    fn remove(&mut self, class: Class) {
        *self.of(class) -= 1;
    }

    fn plus(self, other: Self) -> Self {
        Self { aes: self.aes + other.aes, other: self.other + other.other }
    }
}

fn is_below_share(own: usize, limit: usize, askers: usize) -> bool {
    own < limit / askers.max(1)
}

/// How long the commands of a queue take: a moving average for each class, in nanoseconds; 0 until there is one.
#[derive(Default)]
pub struct Usual {
    aes: AtomicU64,
    other: AtomicU64,
}

impl Usual {
    /// A command has taken so long.
    pub fn note(&self, class: Class, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let usual = self.of(class);
        // A sample that another thread overwrites is no loss.
        usual.store(averaged(usual.load(Ordering::Relaxed), took), Ordering::Relaxed);
    }

    /// How long a command of this class usually takes, once that is known.
    pub fn time(&self, class: Class) -> Option<Duration> {
        let usual = self.of(class).load(Ordering::Relaxed);
        (usual != 0).then(|| Duration::from_nanos(usual))
    }

    /// How long `workers` need for what is ahead, at least: of a class that was never measured nothing is known.
    pub fn wait(&self, ahead: Count, workers: usize) -> Duration {
        let all = |count: usize, class| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.time(class).unwrap_or_default().saturating_mul(count)
        };
        let all = all(ahead.aes, Class::Aes).saturating_add(all(ahead.other, Class::Other));
        all / u32::try_from(workers.max(1)).unwrap_or(u32::MAX)
    }

    fn of(&self, class: Class) -> &AtomicU64 {
        match class {
            Class::Aes => &self.aes,
            Class::Other => &self.other,
        }
    }
}

/// A sample counts as four times the average at most: a call that hung, or whose thread had to wait for a core, says little
/// of the next, and where all have become slower the average follows within a few dozen.
fn averaged(usual: u64, took: u64) -> u64 {
    match usual {
        0 => took.max(1),
        usual => usual - usual / 16 + took.min(usual.saturating_mul(4)) / 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of an asker, with a number.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct One(&'static str, u32, Class);

    impl Waiting for One {
        fn asker(&self) -> Asker {
            Asker::named(self.0)
        }

        fn class(&self) -> Class {
            self.2
        }
    }

    fn aes(asker: &'static str, number: u32) -> One {
        One(asker, number, Class::Aes)
    }

    fn other(asker: &'static str, number: u32) -> One {
        One(asker, number, Class::Other)
    }

    fn turns(items: &[One]) -> Turns<One> {
        let mut turns = Turns::default();
        items.iter().for_each(|item| turns.push(*item));
        turns
    }

    fn order(mut turns: Turns<One>) -> Vec<(&'static str, u32)> {
        std::iter::from_fn(|| turns.pop()).map(|One(asker, number, _)| (asker, number)).collect()
    }

    #[test]
    fn askers_take_turns_and_each_keeps_its_order() {
        let turns = turns(&[aes("a", 1), aes("a", 2), aes("a", 3), aes("b", 1), aes("b", 2), aes("c", 1)]);
        assert_eq!(order(turns), [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3)]);
    }

    #[test]
    fn what_comes_back_is_next() {
        let mut turns = turns(&[aes("a", 1), aes("b", 1), aes("b", 2)]);
        turns.push_front(aes("b", 0));
        turns.push_front(aes("c", 0));
        assert_eq!(turns.len(), 5);
        assert_eq!(order(turns), [("c", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2)]);
    }

    #[test]
    fn the_newest_of_the_greediest_is_pushed_out() {
        let mut turns = turns(&[aes("a", 1), aes("b", 1), aes("b", 2), aes("b", 3), aes("c", 1), aes("c", 2)]);
        assert_eq!(turns.push_out(), Some(aes("b", 3)));
        assert_eq!(turns.len(), 5);
        assert_eq!(order(turns), [("a", 1), ("b", 1), ("c", 1), ("b", 2), ("c", 2)]);
    }

    #[test]
    fn lines_that_come_and_go_use_their_room_again() {
        let mut turns = Turns::default();
        for n in 0..1000 {
            turns.push(aes(if n % 2 == 0 { "a" } else { "b" }, n));
            assert_eq!(turns.pop().map(|one| one.1), Some(n));
            assert!(turns.spare.len() == 1 && turns.lines.is_empty());
        }
    }

    #[test]
    fn who_has_its_share_may_not_push_out_another() {
        let full = turns(&[aes("a", 1), aes("a", 2), aes("a", 3), aes("b", 1)]);
        assert!(full.owes_a_place(Asker::named("c"), 4), "a place for each of three");
        assert!(full.owes_a_place(Asker::named("b"), 4), "two places for each of two");
        assert!(!full.owes_a_place(Asker::named("a"), 4));
        assert!(!is_below_share(0, 4, 5), "more askers than places");
        assert!(!is_below_share(4, 4, 1) && is_below_share(1, 4, 2) && !is_below_share(2, 4, 2));
    }

    #[test]
    fn ahead_of_a_newcomer_is_one_turn_of_each_and_ahead_of_the_greedy_all_of_it() {
        let lines = [aes("a", 1), aes("a", 2), aes("a", 3), aes("a", 4), other("b", 1), aes("c", 1), aes("c", 2)];
        let turns = turns(&lines);
        let ahead = |asker| turns.ahead_of(Asker::named(asker));
        assert_eq!(ahead("new"), Count { aes: 2, other: 1 });
        assert_eq!(ahead("a"), Count { aes: 6, other: 1 });
        // b's next has its turn after the second of a, which stands before it, and the first of c.
        assert_eq!(ahead("b"), Count { aes: 3, other: 1 });
    }

    #[test]
    fn a_mixed_line_is_taken_for_evenly_mixed() {
        let turns = turns(&[aes("a", 1), aes("a", 2), other("a", 3), other("a", 4), aes("b", 1)]);
        assert_eq!(turns.ahead_of(Asker::named("b")), Count { aes: 2, other: 1 });
        let one_of_two = Line { asker: Asker::SERVICE, waiting: [(), ()].into(), count: Count { aes: 1, other: 1 } };
        assert_eq!(one_of_two.first(1), Count::default(), "halves are nothing: the estimate is never too high");
    }

    #[test]
    fn a_wait_is_shared_by_the_workers_and_unknown_times_count_nothing() {
        let usual = Usual::default();
        let ahead = Count { aes: 100, other: 10 };
        assert_eq!(usual.wait(ahead, 4), Duration::ZERO);
        usual.note(Class::Aes, Duration::from_micros(20));
        assert_eq!(usual.wait(ahead, 4), Duration::from_micros(500));
        usual.note(Class::Other, Duration::from_millis(2));
        assert_eq!(usual.wait(ahead, 4), Duration::from_micros(5_500));
        assert_eq!(usual.wait(ahead, 0), usual.wait(ahead, 1));
        assert_eq!(usual.wait(Count::default(), 1), Duration::ZERO);
    }

    #[test]
    fn one_call_that_hangs_moves_the_average_little_and_many_slow_ones_move_it_soon() {
        let after = |n, took| (0..n).fold(10_000, |usual, _| averaged(usual, took));
        assert!(after(1, 5_000_000_000) < 12_000);
        assert!(after(60, 10_000_000) > 5_000_000);
        assert!((9_000..=10_000).contains(&after(1000, 10_000)));
        assert_eq!(averaged(0, 7), 7);
    }
}
