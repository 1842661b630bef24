//! A fair queue, as there is one before each HSM and before the connection that writes to the store. Askers take turns, and what
//! one asks for is done in its order; so however much one asks for, another waits for one item of it at each turn.
//!
//! The queue of an asker is found by going through all: a thousand of them take less time than one call to an HSM.

mod service_times;

use std::collections::VecDeque;

use crate::identity::Asker;

pub use self::service_times::ServiceTimes;

/// Emptied queues that are kept, so that a few askers who come and go cost no allocation.
const MAX_SPARE: usize = 8;

/// An item of a fair queue.
pub trait Queued {
    /// The caller that the item is for.
    fn asker(&self) -> Asker;
    /// How long the item will take, as far as that is known before.
    fn class(&self) -> CostClass;
}

/// Commands that take about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostClass {
    /// One AES call on a few kilobytes.
    Aes,
    /// Anything else.
    Other,
}

/// A number of items of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items of [`CostClass::Aes`].
    pub aes: usize,
    /// Items of [`CostClass::Other`].
    pub other: usize,
}

/// Items that wait, in a queue of its own for each asker.
pub struct FairQueue<T> {
    /// The first has the next turn. None is empty.
    queues: VecDeque<AskerQueue<T>>,
    /// Emptied queues, for askers to come.
    spare: Vec<VecDeque<T>>,
    /// Items of all queues.
    len: usize,
}

/// The items of one asker, and how many there are of each class.
struct AskerQueue<T> {
    asker: Asker,
    waiting: VecDeque<T>,
    count: Counts,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { queues: VecDeque::new(), spare: Vec::new(), len: 0 }
    }
}

impl<T: Queued> FairQueue<T> {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item behind the others of its asker.
    pub fn push(&mut self, item: T) {
        let at = self.index_of(item.asker()).unwrap_or_else(|| {
            let queue = self.new_queue(item.asker());
            self.queues.push_back(queue);
            self.queues.len() - 1
        });
        self.len += 1;
        if let Some(queue) = self.queues.get_mut(at) {
            queue.count.add(item.class());
            queue.waiting.push_back(item);
        }
    }

    /// Puts an item back before all others: it had its turn and could not use it.
    pub fn push_front(&mut self, item: T) {
        let queue = self.index_of(item.asker()).and_then(|at| self.queues.remove(at));
        let mut queue = queue.unwrap_or_else(|| self.new_queue(item.asker()));
        self.len += 1;
        queue.count.add(item.class());
        queue.waiting.push_front(item);
        self.queues.push_front(queue);
    }

    /// Takes the item whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let mut queue = self.queues.pop_front()?;
        let item = queue.waiting.pop_front()?;
        queue.count.remove(item.class());
        self.len -= 1;
        match queue.waiting.is_empty() {
            true => self.keep_spare(queue.waiting),
            false => self.queues.push_back(queue),
        }
        Some(item)
    }

    /// Takes the newest item of the asker that has the most, to make room (load shedding).
    pub fn shed(&mut self) -> Option<T> {
        let (at, _) = self.queues.iter().enumerate().max_by_key(|(_, queue)| queue.waiting.len())?;
        let queue = self.queues.get_mut(at)?;
        let item = queue.waiting.pop_back()?;
        queue.count.remove(item.class());
        self.len -= 1;
        if queue.waiting.is_empty() {
            let emptied = self.queues.remove(at)?;
            self.keep_spare(emptied.waiting);
        }
        Some(item)
    }

    /// True if `asker` has less than an equal share of `limit` places, so that another asker has to give one up for it.
    pub fn has_less_than_its_share(&self, asker: Asker, limit: usize) -> bool {
        match self.index_of(asker).and_then(|at| self.queues.get(at)) {
            Some(queue) => is_below_share(queue.waiting.len(), limit, self.queues.len()),
            None => is_below_share(0, limit, self.queues.len() + 1),
        }
    }

    /// The items that have their turn before the next one of `asker`, if no other asker comes.
    pub fn ahead_of(&self, asker: Asker) -> Counts {
        let at = self.index_of(asker).unwrap_or(self.queues.len());
        let own = self.queues.get(at).map_or(0, |queue| queue.waiting.len());
        let before = |(i, queue): (usize, &AskerQueue<T>)| queue.first(own + usize::from(i < at));
        self.queues.iter().enumerate().map(before).fold(Counts::default(), Counts::plus)
    }

    fn index_of(&self, asker: Asker) -> Option<usize> {
        self.queues.iter().position(|queue| queue.asker == asker)
    }

    fn new_queue(&mut self, asker: Asker) -> AskerQueue<T> {
        AskerQueue { asker, waiting: self.spare.pop().unwrap_or_default(), count: Counts::default() }
    }

    fn keep_spare(&mut self, emptied: VecDeque<T>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(emptied);
        }
    }
}

impl<T> AskerQueue<T> {
    /// The items of each class among the first `turns`, as if the classes were mixed evenly.
    fn first(&self, turns: usize) -> Counts {
        let all = self.waiting.len();
        if turns >= all {
            return self.count;
        }
        Counts { aes: self.count.aes * turns / all, other: self.count.other * turns / all }
    }
}

impl Counts {
    fn of(&mut self, class: CostClass) -> &mut usize {
        match class {
            CostClass::Aes => &mut self.aes,
            CostClass::Other => &mut self.other,
        }
    }

    fn add(&mut self, class: CostClass) {
        *self.of(class) += 1;
    }

    fn remove(&mut self, class: CostClass) {
        *self.of(class) -= 1;
    }

    fn plus(self, other: Self) -> Self {
        Self { aes: self.aes + other.aes, other: self.other + other.other }
    }
}

fn is_below_share(own: usize, limit: usize, askers: usize) -> bool {
    own < limit / askers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An item of an asker, with a number.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Item(&'static str, u32, CostClass);

    impl Queued for Item {
        fn asker(&self) -> Asker {
            Asker::named(self.0)
        }

        fn class(&self) -> CostClass {
            self.2
        }
    }

    fn aes(asker: &'static str, number: u32) -> Item {
        Item(asker, number, CostClass::Aes)
    }

    fn other(asker: &'static str, number: u32) -> Item {
        Item(asker, number, CostClass::Other)
    }

    fn queue(items: &[Item]) -> FairQueue<Item> {
        let mut queue = FairQueue::default();
        items.iter().for_each(|item| queue.push(*item));
        queue
    }

    fn order(mut queue: FairQueue<Item>) -> Vec<(&'static str, u32)> {
        std::iter::from_fn(|| queue.pop()).map(|Item(asker, number, _)| (asker, number)).collect()
    }

    #[test]
    fn askers_take_turns_and_each_keeps_its_order() {
        let queue = queue(&[aes("a", 1), aes("a", 2), aes("a", 3), aes("b", 1), aes("b", 2), aes("c", 1)]);
        assert_eq!(order(queue), [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3)]);
    }

    #[test]
    fn what_comes_back_is_next() {
        let mut queue = queue(&[aes("a", 1), aes("b", 1), aes("b", 2)]);
        queue.push_front(aes("b", 0));
        queue.push_front(aes("c", 0));
        assert_eq!(queue.len(), 5);
        assert_eq!(order(queue), [("c", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2)]);
    }

    #[test]
    fn the_newest_of_the_greediest_is_shed() {
        let mut queue = queue(&[aes("a", 1), aes("b", 1), aes("b", 2), aes("b", 3), aes("c", 1), aes("c", 2)]);
        assert_eq!(queue.shed(), Some(aes("b", 3)));
        assert_eq!(queue.len(), 5);
        assert_eq!(order(queue), [("a", 1), ("b", 1), ("c", 1), ("b", 2), ("c", 2)]);
    }

    #[test]
    fn queues_that_come_and_go_use_their_room_again() {
        let mut queue = FairQueue::default();
        for n in 0..1000 {
            queue.push(aes(if n % 2 == 0 { "a" } else { "b" }, n));
            assert_eq!(queue.pop().map(|one| one.1), Some(n));
            assert!(queue.spare.len() == 1 && queue.queues.is_empty());
        }
    }

    #[test]
    fn who_has_its_share_may_not_have_another_shed() {
        let full = queue(&[aes("a", 1), aes("a", 2), aes("a", 3), aes("b", 1)]);
        assert!(full.has_less_than_its_share(Asker::named("c"), 4), "a place for each of three");
        assert!(full.has_less_than_its_share(Asker::named("b"), 4), "two places for each of two");
        assert!(!full.has_less_than_its_share(Asker::named("a"), 4));
        assert!(!is_below_share(0, 4, 5), "more askers than places");
        assert!(!is_below_share(4, 4, 1) && is_below_share(1, 4, 2) && !is_below_share(2, 4, 2));
    }

    #[test]
    fn ahead_of_a_newcomer_is_one_turn_of_each_and_ahead_of_the_greedy_all_of_it() {
        let items = [aes("a", 1), aes("a", 2), aes("a", 3), aes("a", 4), other("b", 1), aes("c", 1), aes("c", 2)];
        let queue = queue(&items);
        let ahead = |asker| queue.ahead_of(Asker::named(asker));
        assert_eq!(ahead("new"), Counts { aes: 2, other: 1 });
        assert_eq!(ahead("a"), Counts { aes: 6, other: 1 });
        // b's next has its turn after the second of a, which stands before it, and the first of c.
        assert_eq!(ahead("b"), Counts { aes: 3, other: 1 });
    }

    #[test]
    fn a_mixed_queue_is_taken_for_evenly_mixed() {
        let queue = queue(&[aes("a", 1), aes("a", 2), other("a", 3), other("a", 4), aes("b", 1)]);
        assert_eq!(queue.ahead_of(Asker::named("b")), Counts { aes: 2, other: 1 });
        let one_of_two =
            AskerQueue { asker: Asker::SERVICE, waiting: [(), ()].into(), count: Counts { aes: 1, other: 1 } };
        assert_eq!(one_of_two.first(1), Counts::default(), "halves are nothing: the estimate is never too high");
    }
}
