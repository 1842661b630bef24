//! The queue in front of the workers: bounded, and slow to wake.
//!
//! To wake a thread costs as much as an AES call of a software token. So a worker that is in a short call is expected
//! back for what waits, and another is woken only when more waits than the busy ones will soon have done, or when a call
//! is known to take long. How long AES takes is measured: of an HSM behind a network every call is long, and each command
//! wakes a worker as long as one sleeps.
//!
//! Nobody starves: askers take turns (`fair_queue`), and when all places are taken, who has more than a fair share gives one up
//! to who has less. Nobody waits in vain: what would not have its turn before its deadline is refused at once.
//!
//! A worker that gets no session, because the token has none left, hands its command to another and rests. One never
//! rests: it answers for all.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::job::Job;
use crate::fair_queue::{CostClass, FairQueue, ServiceTimes};

/// As many commands may wait for one worker in a short call before another is woken.
const PER_BUSY_WORKER: usize = 2;

/// The longest a call usually takes that counts as short.
const SHORT: Duration = Duration::from_micros(30);

/// How long a worker that got no session waits before it tries again.
const REST: Duration = Duration::from_secs(30);

/// Commands on their way to the workers of one kind.
pub(in crate::hsm) struct Queue {
    limit: usize,
    state: Mutex<QueueState>,
    /// One for each worker.
    bells: Vec<Condvar>,
    usual: ServiceTimes,
}

struct QueueState {
    waiting: FairQueue<Job>,
    workers: Vec<WorkerState>,
    /// True if a worker is to give up its session, because a lane of another kind gets none.
    to_spare: bool,
    open: bool,
}

/// The state of one worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WorkerState {
    /// It has not come yet.
    Empty,
    /// It waits to be woken.
    Asleep,
    /// It is in a short call, or on its way to the queue.
    BackSoon,
    /// It is in a call that may take long.
    Away,
    /// It has no session and does nothing.
    Resting,
}

/// The next thing for a worker to do.
pub(in crate::hsm) enum Next {
    Do(Job),
    /// Close its session and [`rest`](Queue::rest).
    Rest,
    /// There will be no more.
    End,
}

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum QueueRefusal {
    Full,
    /// It would not have had its turn before its deadline.
    TooLate,
    Closed,
}

impl Queue {
    /// A queue in which `limit` commands may wait, for so many `workers`.
    pub(in crate::hsm) fn new(limit: usize, workers: usize) -> Self {
        let state = QueueState {
            waiting: FairQueue::default(),
            workers: vec![WorkerState::Empty; workers],
            to_spare: false,
            open: true,
        };
        let bells = (0..workers).map(|_| Condvar::new()).collect();
        Self { limit, state: Mutex::new(state), bells, usual: ServiceTimes::default() }
    }

    /// Puts a command into the queue, or gives it back. Another may have to go for it, which is then the caller's to answer.
    pub(in crate::hsm) fn send(&self, job: Job) -> Result<Option<Box<Job>>, (QueueRefusal, Box<Job>)> {
        let mut state = self.state();
        if let Some(refused) = self.refusal(&state, &job) {
            return Err((refused, Box::new(job)));
        }
        let is_full = state.waiting.len() >= self.limit;
        let pushed_out = if is_full { state.waiting.shed().map(Box::new) } else { None };
        state.waiting.push(job);
        let soon = state.workers.iter().filter(|worker| **worker == WorkerState::BackSoon).count();
        if state.waiting.len() > soon * PER_BUSY_WORKER {
            self.wake_one(state);
        }
        Ok(pushed_out)
    }

    fn refusal(&self, state: &QueueState, job: &Job) -> Option<QueueRefusal> {
        if !state.open {
            return Some(QueueRefusal::Closed);
        }
        if state.waiting.is_empty() {
            return None;
        }
        if state.waiting.len() >= self.limit && !state.waiting.has_less_than_its_share(job.asker, self.limit) {
            return Some(QueueRefusal::Full);
        }
        let wait = self.usual.wait(state.waiting.ahead_of(job.asker), state.in_service());
        (wait > job.deadline.saturating_duration_since(Instant::now())).then_some(QueueRefusal::TooLate)
    }

    /// Waits for the next thing that this worker is to do.
    pub(in crate::hsm) fn take(&self, worker: usize) -> Next {
        let mut state = self.state();
        loop {
            if state.is_to_rest(worker) {
                return Next::Rest;
            }
            if let Some(job) = state.waiting.pop() {
                state.put(worker, if self.is_short(&job) { WorkerState::BackSoon } else { WorkerState::Away });
                return Next::Do(job);
            }
            let Some(bell) = self.bells.get(worker).filter(|_| state.open) else { return Next::End };
            state.put(worker, WorkerState::Asleep);
            bell.wait_while(&mut state, |state| state.open && state.is(worker, WorkerState::Asleep));
        }
    }

    /// This worker gets no session for `job`. It is to rest, and another does the job; if there is no other, the
    /// job is given back.
    pub(in crate::hsm) fn hand_over(&self, worker: usize, job: Job) -> Option<Box<Job>> {
        let mut state = self.state();
        if !state.is_another_in_service(worker) {
            return Some(Box::new(job));
        }
        state.put(worker, WorkerState::Resting);
        state.waiting.push_front(job);
        self.wake_one(state);
        None
    }

    /// This worker has no session and is not to ask for one now.
    pub(in crate::hsm) fn retire(&self, worker: usize) {
        self.state().put(worker, WorkerState::Resting);
    }

    /// A lane of another kind gets no session: a worker gives up its own, unless it is the only one.
    pub(in crate::hsm) fn spare_one(&self) {
        let mut state = self.state();
        if state.in_service() > 1 {
            state.to_spare = true;
            self.wake_one(state);
        }
    }

    /// Waits until it may be worth trying again.
    pub(in crate::hsm) fn rest(&self, worker: usize) {
        let Some(bell) = self.bells.get(worker) else { return };
        let is_resting = |state: &mut QueueState| state.open && state.is(worker, WorkerState::Resting);
        let mut state = self.state();
        bell.wait_while_for(&mut state, is_resting, REST);
        state.put(worker, WorkerState::BackSoon);
    }

    /// A session has been closed that somebody may have missed.
    pub(in crate::hsm) fn recall(&self) {
        let mut state = self.state();
        let resting: Vec<_> =
            (0..state.workers.len()).filter(|worker| state.is(*worker, WorkerState::Resting)).collect();
        resting.iter().for_each(|worker| state.put(*worker, WorkerState::BackSoon));
        drop(state);
        for bell in resting.iter().filter_map(|worker| self.bells.get(*worker)) {
            bell.notify_one();
        }
    }

    /// Wakes a worker if commands wait and one sleeps: those that were expected back soon may be in a call that hangs.
    pub(in crate::hsm) fn nudge(&self) {
        let state = self.state();
        if !state.waiting.is_empty() {
            self.wake_one(state);
        }
    }

    /// Takes no more commands; those in the queue are still done.
    pub(in crate::hsm) fn close(&self) {
        self.state().open = false;
        for bell in &self.bells {
            bell.notify_one();
        }
    }

    /// For how many workers it is.
    pub(in crate::hsm) fn workers(&self) -> usize {
        self.bells.len()
    }

    /// How many commands wait.
    pub(in crate::hsm) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// A command has taken so long.
    pub(in crate::hsm) fn note(&self, class: CostClass, took: Duration) {
        self.usual.note(class, took);
    }

    fn is_short(&self, job: &Job) -> bool {
        job.command.class() == CostClass::Aes && self.usual.time(CostClass::Aes).is_some_and(|time| time <= SHORT)
    }

    /// The first that sleeps: so under little load it is always the same, whose caches are warm.
    fn wake_one(&self, mut state: MutexGuard<'_, QueueState>) {
        let Some(worker) = state.workers.iter().position(|worker| *worker == WorkerState::Asleep) else { return };
        state.put(worker, WorkerState::BackSoon);
        drop(state);
        if let Some(bell) = self.bells.get(worker) {
            bell.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

impl QueueState {
    fn put(&mut self, worker: usize, now: WorkerState) {
        if let Some(worker) = self.workers.get_mut(worker) {
            *worker = now;
        }
    }

    fn is(&self, worker: usize, what: WorkerState) -> bool {
        self.workers.get(worker) == Some(&what)
    }

    fn in_service(&self) -> usize {
        self.workers.iter().filter(|worker| **worker != WorkerState::Resting).count()
    }

    fn is_another_in_service(&self, worker: usize) -> bool {
        self.in_service() > usize::from(!self.is(worker, WorkerState::Resting))
    }

    /// True if this worker rests, or now begins to, so that there is a session for another kind of lane.
    fn is_to_rest(&mut self, worker: usize) -> bool {
        if std::mem::take(&mut self.to_spare) && self.is_another_in_service(worker) {
            self.put(worker, WorkerState::Resting);
        }
        self.is(worker, WorkerState::Resting)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use tokio::sync::oneshot;

    use super::super::job::Completion;
    use super::*;
    use crate::hsm::engine::command::{Check, Command, Seal, queued};
    use crate::identity::Asker;
    use crate::key::material::{Keeping, Material, MaterialId};
    use crate::key::spec::{KeySpec, KeyUsage};
    use crate::secret::SecretBytes;

    const A_MINUTE: Duration = Duration::from_secs(60);

    fn job(command: impl Command) -> Job {
        let (deadline, command) = (Instant::now() + A_MINUTE, queued(command, |_| ()));
        Job {
            asker: Asker::SERVICE,
            command,
            lease: None,
            deadline,
            completion: Completion::Waiting(oneshot::channel().0),
        }
    }

    fn long() -> Job {
        job(Check)
    }

    fn aes() -> Job {
        let (id, keeping) = (MaterialId([1; 32]), Keeping::Token { cka_id: vec![1], member: None });
        let (spec, usage) = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
        let material = Arc::new(Material { id, spec, usage, keeping, public_key: None });
        job(Seal { material, aad: Vec::new(), input: SecretBytes::from(vec![1]) })
    }

    fn taken(queue: &Queue, worker: usize) -> Option<Job> {
        match queue.take(worker) {
            Next::Do(job) => Some(job),
            Next::Rest | Next::End => None,
        }
    }

    /// A queue with two workers: the first took the job and is busy with it, the second sleeps.
    fn with_one_busy(job: Job, usual: Duration) -> (Arc<Queue>, thread::JoinHandle<Option<Job>>) {
        let queue = Arc::new(Queue::new(8, 2));
        queue.note(CostClass::Aes, usual);
        assert!(queue.send(job).is_ok() && taken(&queue, 0).is_some());
        let other = Arc::clone(&queue);
        let second = thread::spawn(move || taken(&other, 1));
        while queue.state().workers[1] != WorkerState::Asleep {
            thread::yield_now();
        }
        (queue, second)
    }

    fn sleeps(queue: &Queue, worker: usize) -> bool {
        queue.state().workers[worker] == WorkerState::Asleep
    }

    #[test]
    fn a_command_waits_for_a_worker_in_a_short_call() {
        let (queue, second) = with_one_busy(aes(), Duration::from_micros(8));
        for _ in 0..PER_BUSY_WORKER {
            assert!(queue.send(aes()).is_ok());
            assert!(sleeps(&queue, 1));
        }
        assert!(queue.send(aes()).is_ok());
        assert!(second.join().unwrap().is_some());
    }

    #[test]
    fn a_worker_in_a_long_call_is_not_waited_for() {
        for (taken, usual) in [(long(), Duration::from_micros(8)), (aes(), Duration::from_millis(2))] {
            let (queue, second) = with_one_busy(taken, usual);
            assert!(queue.send(aes()).is_ok());
            assert!(second.join().unwrap().is_some());
        }
    }

    #[test]
    fn a_nudge_helps_what_waits_behind_a_call_that_hangs() {
        let (queue, second) = with_one_busy(aes(), Duration::from_micros(8));
        queue.nudge();
        assert!(sleeps(&queue, 1), "nothing waited");
        assert!(queue.send(aes()).is_ok());
        queue.nudge();
        assert!(second.join().unwrap().is_some());
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_no_more() {
        let (queue, second) = with_one_busy(aes(), Duration::from_micros(8));
        assert!(queue.send(aes()).is_ok());
        queue.close();
        assert!(second.join().unwrap().is_some() && matches!(queue.take(1), Next::End));
        assert!(queue.send(aes()).is_err_and(|(refused, _)| refused == QueueRefusal::Closed));
    }

    fn aes_of(asker: &str) -> Job {
        Job { asker: Asker::named(asker), ..aes() }
    }

    /// The result of sending a command: the asker of the one that had to go, if one had.
    fn sent(queue: &Queue, job: Job) -> Result<Option<Asker>, QueueRefusal> {
        let sent = queue.send(job).map_err(|(refused, _)| refused);
        sent.map(|pushed_out| pushed_out.map(|job| job.asker))
    }

    #[test]
    fn who_fills_the_queue_makes_room_for_another_until_that_one_has_its_share() {
        let queue = Queue::new(4, 1);
        for _ in 0..4 {
            assert_eq!(sent(&queue, aes_of("greedy")), Ok(None));
        }
        assert_eq!(sent(&queue, aes_of("greedy")), Err(QueueRefusal::Full));
        for _ in 0..2 {
            assert_eq!(sent(&queue, aes_of("modest")), Ok(Some(Asker::named("greedy"))));
        }
        assert_eq!(sent(&queue, aes_of("modest")), Err(QueueRefusal::Full));
        assert_eq!(queue.len(), 4);
        let order = [(); 4].map(|()| taken(&queue, 0).unwrap().asker);
        assert_eq!(order, ["greedy", "modest", "greedy", "modest"].map(Asker::named));
    }

    #[test]
    fn what_would_be_late_is_refused_and_what_is_short_of_that_waits() {
        let queue = Queue::new(100, 2);
        let due_in = |asker, millis| Job { deadline: Instant::now() + Duration::from_millis(millis), ..aes_of(asker) };
        for _ in 0..20 {
            assert_eq!(sent(&queue, due_in("greedy", 1)), Ok(None), "nothing was measured yet");
        }
        queue.note(CostClass::Aes, Duration::from_millis(100));
        assert_eq!(sent(&queue, due_in("greedy", 900)), Err(QueueRefusal::TooLate), "20 of 100 ms for two workers");
        assert_eq!(sent(&queue, due_in("greedy", 30_000)), Ok(None));
        assert_eq!(sent(&queue, due_in("modest", 900)), Ok(None), "its turn is the second");
        (0..22).for_each(|_| drop(taken(&queue, 0)));
        assert_eq!(sent(&queue, due_in("greedy", 0)), Ok(None), "nothing waits");
    }

    #[test]
    fn who_gets_no_session_hands_over_and_the_last_one_answers() {
        let (queue, second) = with_one_busy(long(), Duration::from_micros(8));
        assert!(queue.hand_over(0, long()).is_none());
        let job = second.join().unwrap().expect("the other worker is woken and has it");
        assert!(matches!(queue.take(0), Next::Rest));
        assert!(queue.hand_over(1, job).is_some(), "nobody else is there");
        assert_eq!(queue.state().in_service(), 1);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_handed_over_is_done_next() {
        let queue = Queue::new(2, 2);
        assert!(queue.send(aes_of("one")).is_ok() && queue.send(aes_of("two")).is_ok());
        let job = taken(&queue, 0).unwrap();
        assert!(queue.hand_over(0, job).is_none());
        assert_eq!([(); 2].map(|()| taken(&queue, 1).unwrap().asker), ["one", "two"].map(Asker::named));
    }

    #[test]
    fn a_rest_ends_when_a_session_is_closed_or_the_queue() {
        let queue = Arc::new(Queue::new(8, 3));
        let resting = [0, 1].map(|worker| {
            queue.retire(worker);
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.rest(worker);
                taken(&queue, worker)
            })
        });
        assert_eq!(queue.state().in_service(), 1);
        queue.recall();
        assert_eq!(queue.state().in_service(), 3);
        assert!(queue.send(long()).is_ok() && queue.send(long()).is_ok());
        // Each takes one and does not come back for the other's: whoever sleeps is woken by this.
        queue.close();
        assert!(resting.into_iter().all(|worker| worker.join().unwrap().is_some()));
    }

    #[test]
    fn who_rests_when_the_queue_is_closed_helps_to_empty_it() {
        let queue = Queue::new(8, 2);
        queue.retire(0);
        assert!(queue.send(long()).is_ok());
        assert!(matches!(queue.take(0), Next::Rest));
        queue.close();
        queue.rest(0);
        assert!(taken(&queue, 0).is_some());
        assert!(matches!(queue.take(0), Next::End));
    }

    #[test]
    fn one_worker_gives_up_its_session_for_another_lane_and_the_last_does_not() {
        let (queue, second) = with_one_busy(long(), Duration::from_micros(8));
        queue.spare_one();
        assert!(second.join().unwrap().is_none(), "the one that sleeps is woken, and is to rest");
        queue.spare_one();
        assert!(queue.send(long()).is_ok());
        assert!(taken(&queue, 0).is_some(), "the last one goes on");
    }

    #[test]
    fn a_full_queue_gives_the_command_back() {
        let queue = Queue::new(1, 1);
        assert!(queue.send(aes()).is_ok());
        assert!(sent(&queue, aes()) == Err(QueueRefusal::Full));
        assert_eq!(queue.len(), 1);
    }
}
