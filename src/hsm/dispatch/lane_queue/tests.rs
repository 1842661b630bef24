//! The queue, with the threads of the worker process played by hand.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::super::call::Outcome;
use super::*;
use crate::identity::Asker;

const A_MINUTE: Duration = Duration::from_secs(60);
const SHORT_CALL: Duration = Duration::from_micros(8);

type Reply = oneshot::Receiver<Outcome>;

/// A lane of workers, whose threads are awake and do nothing.
struct Bench {
    memory: Arc<Memory>,
    queue: LaneQueue,
}

impl Bench {
    fn new(limit: usize, workers: usize) -> Self {
        let memory = Arc::new(Memory::for_tests(workers));
        let queue = LaneQueue::new(Lane::Work, limit, Duration::from_millis(250), &memory);
        Self { memory, queue }
    }

    fn send(&self, asker: &str, class: CostClass, time: Duration) -> Reply {
        let deadline = Moment::of(Instant::now() + time);
        let order = Zeroizing::new(asker.as_bytes().to_vec());
        let (call, reply) = Call::new((Asker::named(asker), class), deadline, None, order);
        self.queue.send(&self.memory, call).unwrap();
        reply
    }

    fn aes(&self, asker: &str) -> Reply {
        self.send(asker, CostClass::Aes, A_MINUTE)
    }

    fn other(&self, asker: &str) -> Reply {
        self.send(asker, CostClass::Other, A_MINUTE)
    }

    /// Has this thread take the next order: who it is for.
    fn take(&self, thread: usize) -> Option<Taken<'_>> {
        let mailboxes = self.memory.mailboxes();
        let (mailbox, turn) = mailboxes.claim(self.memory.layout().mailboxes(Lane::Work), thread)?;
        mailboxes.note_began(mailbox, Some(Moment::now()));
        let asker = String::from_utf8(mailboxes.read(mailbox, turn).unwrap().to_vec()).unwrap();
        Some(Taken { bench: self, mailbox, turn, thread, asker })
    }

    /// Has this thread do what there is until there is no more: who it was for, in order.
    fn work_off(&self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.take(0)?.answer())).collect()
    }

    /// A thread that sleeps until it is woken.
    fn sleeper(&self, thread: usize) -> JoinHandle<()> {
        let memory = Arc::clone(&self.memory);
        let sleeper = thread::spawn(move || memory.bells().sleep_unless(thread, A_MINUTE, || false));
        while self.memory.bells().asleep_and_awake(thread..thread + 1).0 == 0 {
            thread::yield_now();
        }
        sleeper
    }

    fn sleeps(&self, thread: usize) -> bool {
        self.memory.bells().asleep_and_awake(thread..thread + 1).0 == 1
    }

    fn waiting(&self) -> usize {
        self.queue.waiting_and_taken(&self.memory).0
    }
}

/// An order that a thread has taken.
struct Taken<'a> {
    bench: &'a Bench,
    mailbox: usize,
    turn: Turn,
    thread: usize,
    asker: String,
}

impl Taken<'_> {
    fn answer(self) -> String {
        assert!(self.bench.memory.mailboxes().answer(self.mailbox, self.turn, self.thread, b"done"));
        assert_eq!(self.bench.queue.reap(&self.bench.memory), Ok(true));
        self.asker
    }
}

/// The outcome that is there: the reply, or the kind of the error.
fn outcome(mut reply: Reply) -> Option<Result<Vec<u8>, Kind>> {
    let outcome = reply.try_recv().ok()?;
    Some(outcome.map(|bytes| bytes.to_vec()).map_err(|error| error.kind))
}

#[test]
fn an_order_is_taken_and_its_reply_given_to_who_waits() {
    let bench = Bench::new(8, 2);
    let reply = bench.aes("one");
    assert_eq!(bench.queue.waiting_and_taken(&bench.memory), (1, 0));
    let taken = bench.take(1).unwrap();
    assert_eq!(bench.queue.waiting_and_taken(&bench.memory), (0, 1));
    taken.answer();
    assert_eq!(outcome(reply), Some(Ok(b"done".to_vec())));
    assert_eq!(bench.queue.reap(&bench.memory), Ok(false));
}

#[test]
fn a_command_waits_for_a_thread_in_a_short_call() {
    let bench = Bench::new(8, 2);
    bench.queue.note(CostClass::Aes, SHORT_CALL);
    let sleeper = bench.sleeper(1);
    let mut replies = vec![bench.aes("one")];
    let _busy = bench.take(0).unwrap();
    for _ in 0..AHEAD {
        replies.push(bench.aes("one"));
        assert!(bench.sleeps(1));
    }
    replies.push(bench.aes("one"));
    sleeper.join().unwrap();
}

#[test]
fn a_thread_in_a_long_call_is_not_waited_for() {
    let bench = Bench::new(8, 2);
    bench.queue.note(CostClass::Aes, SHORT_CALL);
    let sleeper = bench.sleeper(1);
    let _replies = [bench.other("one")];
    let _busy = bench.take(0).unwrap();
    let _reply = bench.aes("one");
    sleeper.join().unwrap();
}

#[test]
fn a_long_call_that_no_thread_has_taken_yet_is_not_waited_for_either() {
    let bench = Bench::new(8, 2);
    let sleeper = bench.sleeper(1);
    let _replies = [bench.other("one"), bench.other("two")];
    sleeper.join().unwrap();
}

#[test]
fn what_waits_behind_a_call_that_hangs_has_another_thread_woken() {
    let bench = Bench::new(8, 2);
    bench.queue.note(CostClass::Aes, SHORT_CALL);
    let sleeper = bench.sleeper(1);
    let _hangs = bench.send("one", CostClass::Other, Duration::from_millis(1));
    let taken = bench.take(0).unwrap();
    let (mut given_up, began) = (Vec::new(), Instant::now());
    while given_up.is_empty() {
        given_up = bench.queue.look(&bench.memory).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(given_up, [0]);
    assert!(began.elapsed() > Duration::from_millis(200), "it had so long, for it began late");
    assert!(!bench.memory.mailboxes().answer(taken.mailbox, taken.turn, 0, b"late"));
    // The thread in its place sleeps, too.
    let successor = bench.sleeper(0);
    let _reply = bench.other("two");
    successor.join().unwrap();
    let _reply = bench.other("three");
    sleeper.join().unwrap();
}

#[test]
fn who_fills_the_queue_makes_room_for_another_until_that_one_has_its_share() {
    let bench = Bench::new(4, 1);
    let busy = bench.other("busy");
    let taken = bench.take(0).unwrap();
    let greedy: Vec<Reply> = (0..4).map(|_| bench.aes("greedy")).collect();
    assert_eq!(outcome(bench.aes("greedy")), Some(Err(Kind::Busy)));
    let modest = [bench.aes("modest"), bench.aes("modest")];
    assert_eq!(outcome(bench.aes("modest")), Some(Err(Kind::Busy)));
    assert_eq!(bench.waiting(), 4);
    let [first, second, third, fourth] = <[Reply; 4]>::try_from(greedy).unwrap();
    assert_eq!([third, fourth].map(outcome), [Some(Err(Kind::Busy)), Some(Err(Kind::Busy))]);
    taken.answer();
    assert_eq!(bench.work_off(), ["greedy", "modest", "greedy", "modest"]);
    assert!(
        modest
            .into_iter()
            .chain([busy, first, second])
            .all(|reply| outcome(reply).is_some_and(|outcome| outcome.is_ok()))
    );
}

#[test]
fn what_would_be_late_is_refused_and_what_is_short_of_that_waits() {
    let bench = Bench::new(100, 2);
    let due_in = |asker, millis| bench.send(asker, CostClass::Aes, Duration::from_millis(millis));
    let waiting: Vec<Reply> = (0..20).map(|_| due_in("greedy", 30_000)).collect();
    assert_eq!(bench.waiting(), 20, "nothing was measured yet");
    bench.queue.note(CostClass::Aes, Duration::from_millis(100));
    assert_eq!(outcome(due_in("greedy", 700)), Some(Err(Kind::Busy)), "18 of 100 ms for two threads");
    assert_eq!(outcome(due_in("greedy", 30_000)), None);
    assert_eq!(outcome(due_in("modest", 700)), None, "its turn is the second");
    drop(waiting);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_done() {
    let bench = Bench::new(8, 1);
    let _busy = bench.other("busy");
    let taken = bench.take(0).unwrap();
    drop(bench.other("gone"));
    let late = bench.send("late", CostClass::Other, Duration::from_millis(1));
    let _last = bench.other("last");
    thread::sleep(Duration::from_millis(2));
    assert!(bench.queue.look(&bench.memory).unwrap().is_empty());
    taken.answer();
    assert_eq!(bench.work_off(), ["last"]);
    assert!(!matches!(outcome(late), Some(Ok(_))));
}

#[test]
fn a_closed_queue_ends_all_calls_and_takes_no_more() {
    let bench = Bench::new(8, 1);
    let replies = [bench.other("one"), bench.other("two"), bench.other("three")];
    bench.queue.close(&HsmError::stopped());
    let outcomes = replies.map(outcome);
    assert!(outcomes.iter().all(|outcome| *outcome == Some(Err(Kind::DeviceLost))), "{outcomes:?}");
    assert_eq!(outcome(bench.aes("one")), Some(Err(Kind::DeviceLost)));
}

#[test]
fn a_memory_that_was_written_over_is_noticed() {
    let bench = Bench::new(8, 1);
    let reply = bench.aes("one");
    let taken = bench.take(0).unwrap();
    assert!(bench.memory.mailboxes().answer(taken.mailbox, taken.turn, 0, b"done"));
    bench.memory.corrupt(taken.mailbox);
    assert_eq!(bench.queue.reap(&bench.memory), Err(Corrupted));
    assert_eq!(outcome(reply), None, "it is told when the queue is closed");
}
