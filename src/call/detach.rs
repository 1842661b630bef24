//! A future that ends whether or not somebody waits for it: who waits drives it, and the runtime does once they have gone.
//!
//! A task of its own for each call would do the same, at the price of a second task that is made, scheduled and woken for every
//! request; clients seldom hang up.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that goes on as a task of its own if this is dropped before its end. Outside of a runtime it ends there.
///
/// One that comes to its end without ever waiting gives up its turn once: a client whose calls all fail at once would else keep a
/// thread of the runtime from everybody.
pub(super) struct DetachOnDrop<F: Future<Output: Send> + Send + 'static>(State<F>);

enum State<F: Future> {
    New(Pin<Box<F>>),
    Waiting(Pin<Box<F>>),
    /// It has ended without waiting.
    Ended(Result<F::Output, Panicked>),
    Over,
}

/// The future has panicked; the panic hook has said why.
#[derive(Debug)]
pub(super) struct Panicked;

impl<F: Future<Output: Send> + Send + 'static> DetachOnDrop<F> {
    /// A future that is begun when this is first polled.
    pub(super) fn new(future: F) -> Self {
        Self(State::New(Box::pin(future)))
    }
}

// The output is moved and never pinned.
impl<F: Future<Output: Send> + Send + 'static> Unpin for DetachOnDrop<F> {}

/// A panic ends the future and nobody else, as in a task.
impl<F: Future<Output: Send> + Send + 'static> Future for DetachOnDrop<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, is_new) = match mem::replace(&mut self.0, State::Over) {
            State::New(future) => (future, true),
            State::Waiting(future) => (future, false),
            State::Ended(output) => return Poll::Ready(output),
            State::Over => return Poll::Pending,
        };
        let ended = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                self.0 = State::Waiting(future);
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => Ok(output),
            Err(_) => Err(Panicked),
        };
        if !is_new {
            return Poll::Ready(ended);
        }
        self.0 = State::Ended(ended);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        if let (State::New(future) | State::Waiting(future), Ok(runtime)) =
            (mem::replace(&mut self.0, State::Over), Handle::try_current())
        {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn it_ends_though_nobody_waits_for_it_any_more() {
        let (sender, mut receiver) = oneshot::channel();
        let mut call = DetachOnDrop::new(async move {
            yield_now().await;
            sender.send("ended")
        });
        let pending = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut call).poll(cx).is_pending())).await;
        assert!(pending && receiver.try_recv().is_err());
        drop(call);
        assert_eq!(receiver.await, Ok("ended"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_who_waits_and_for_nobody_else() {
        let sum = |terms: &'static [u32]| DetachOnDrop::new(async { terms[0] + terms[1] });
        assert!(matches!(sum(&[1, 2]).await, Ok(3)));
        assert!(matches!(sum(&[1]).await, Err(Panicked)));
    }

    #[tokio::test]
    async fn who_never_waits_lets_others_have_a_turn() {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        for _ in 0..100 {
            assert!(matches!(DetachOnDrop::new(async { 1 }).await, Ok(1)));
        }
        other.abort();
        assert!(turns.load(Ordering::Relaxed) >= 99, "{turns:?}");
    }

    #[test]
    fn without_a_runtime_nothing_is_left_to_drive_it() {
        drop(DetachOnDrop::new(async {}));
    }
}
