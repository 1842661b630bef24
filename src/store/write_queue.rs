//! Whose turn it is to write. Askers take turns, so however many changes one wants, another waits for one of them at a time; when all
//! places are taken, who has more than a fair share gives one up.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    fair_queue::{CostClass, FairQueue, Queued},
    identity::Asker,
};

/// How many changes may wait.
const PLACES: usize = 1024;

/// The queue before the connection that writes.
#[derive(Clone, Default)]
pub(super) struct WriteQueue(Arc<Mutex<QueueState>>);

#[derive(Default)]
struct QueueState {
    /// Somebody has the turn.
    taken: bool,
    waiting: FairQueue<Waiter>,
}

struct Waiter {
    asker: Asker,
    turn: oneshot::Sender<WriteTurn>,
}

impl Queued for Waiter {
    fn asker(&self) -> Asker {
        self.asker
    }

    fn class(&self) -> CostClass {
        CostClass::Other
    }
}

/// The turn to write, which passes to the next one when this is dropped.
pub(super) struct WriteTurn(WriteQueue);

impl Drop for WriteTurn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        // Who has gone away meanwhile gives the turn back by dropping it, and the next one is looked for here.
        match state.waiting.pop() {
            Some(next) => {
                drop(state);
                drop(next.turn.send(WriteTurn(self.0.clone())));
            }
            None => state.taken = false,
        }
    }
}

impl WriteQueue {
    /// The turn of `asker`; nothing if there is no place to wait, or it does not come within `patience`.
    pub(super) async fn turn(&self, asker: Asker, patience: Duration) -> Option<WriteTurn> {
        let waiting = {
            let mut state = self.state();
            if !state.taken {
                state.taken = true;
                return Some(WriteTurn(self.clone()));
            }
            state.wait(asker)?
        };
        timeout(patience, waiting).await.ok()?.ok()
    }

    /// How many write or wait for it.
    pub(super) fn len(&self) -> usize {
        let state = self.state();
        usize::from(state.taken) + state.waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock()
    }
}

impl QueueState {
    fn wait(&mut self, asker: Asker) -> Option<oneshot::Receiver<WriteTurn>> {
        if self.waiting.len() >= PLACES {
            if !self.waiting.has_less_than_its_share(asker, PLACES) {
                return None;
            }
            self.waiting.shed();
        }
        let (turn, waiting) = oneshot::channel();
        self.waiting.push(Waiter { asker, turn });
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn asker(name: &str) -> Asker {
        Asker::named(name)
    }

    /// Has `asker` wait for its turn, and note its name when it has had it.
    async fn wait(writing: &WriteQueue, order: &Arc<Mutex<Vec<&'static str>>>, name: &'static str) {
        let (queue, order, before) = (writing.clone(), Arc::clone(order), writing.len());
        tokio::spawn(async move {
            let turn = queue.turn(asker(name), LONG).await;
            order.lock().push(if turn.is_some() { name } else { "refused" });
        });
        while writing.len() == before {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn askers_take_turns_however_many_changes_one_wants() {
        let (writing, order) = (WriteQueue::default(), Arc::default());
        let first = writing.turn(asker("a"), LONG).await;
        for name in ["a", "a", "a", "b", "c"] {
            wait(&writing, &order, name).await;
        }
        drop(first);
        while order.lock().len() < 5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*order.lock(), ["a", "b", "c", "a", "a"]);
        assert!(writing.turn(asker("a"), Duration::ZERO).await.is_some(), "it is nobody's");
    }

    #[tokio::test]
    async fn who_wants_all_places_gives_one_up_and_gets_no_other() {
        let (writing, order) = (WriteQueue::default(), Arc::default());
        let first = writing.turn(asker("a"), LONG).await;
        for _ in 0..PLACES {
            wait(&writing, &order, "a").await;
        }
        assert!(writing.turn(asker("a"), LONG).await.is_none());
        let another = tokio::time::timeout(Duration::from_millis(1), writing.turn(asker("b"), LONG)).await;
        assert!(another.is_err(), "it waits");
        assert_eq!(writing.len(), 1 + PLACES);
        drop(first);
        while order.lock().len() < PLACES {
            tokio::task::yield_now().await;
        }
        let order = order.lock();
        assert_eq!(order.iter().filter(|name| **name == "refused").count(), 1, "the one that was pushed out");
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_any_more_passes_on() {
        let writing = WriteQueue::default();
        let first = writing.turn(asker("a"), LONG).await;
        for _ in 0..3 {
            assert!(writing.turn(asker("b"), Duration::ZERO).await.is_none(), "too late");
        }
        drop(first);
        assert!(writing.turn(asker("c"), Duration::ZERO).await.is_some());
    }
}
