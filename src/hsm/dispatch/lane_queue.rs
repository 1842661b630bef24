//! The queue in front of the threads of one lane: bounded, fair, and slow to wake.
//!
//! The queue is here, in the service; in the memory that the worker process shares is only what its threads will take at
//! once. To wake a thread costs as much as an AES call of a software token. So a thread that is in a short call is expected
//! back for what waits, and another is woken only when more waits than the busy ones will soon have done, or when a call is
//! known to take long. How long AES takes is measured: of an HSM behind a network every call is long, and each command wakes a
//! thread as long as one sleeps.
//!
//! Nobody starves: askers take turns (`fair_queue`), and when all places are taken, who has more than a fair share gives one up
//! to who has less. Nobody waits in vain: what would not have its turn before its deadline is refused at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::call::{Call, Outcome};
use crate::fair_queue::{CostClass, FairQueue, Queued, ServiceTimes};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::{AHEAD, Corrupted, Lane, Memory, Moment, Stage, Turn};

/// The longest a call usually takes that counts as short.
const SHORT: Duration = Duration::from_micros(30);

/// Commands on their way to the threads of one lane.
pub(super) struct LaneQueue {
    lane: Lane,
    limit: usize,
    /// A call is not given up before it has lasted this long, however near its deadline it began: under load, calls begin
    /// late, and giving threads up would make it worse.
    patience: Duration,
    usual: ServiceTimes,
    /// Calls whose replies came after their deadlines.
    late: AtomicU64,
    state: Mutex<QueueState>,
}

struct QueueState {
    waiting: FairQueue<Call>,
    /// By the lane's mailboxes.
    under_way: Vec<Option<UnderWay>>,
    last_turn: u64,
    /// Why there are no more calls.
    closed: Option<HsmError>,
}

/// A call whose order is in a mailbox.
struct UnderWay {
    turn: Turn,
    call: Call,
}

/// How the threads and mailboxes of a lane are, at one moment.
#[derive(Default)]
struct Load {
    asleep: usize,
    awake: usize,
    /// Orders in the memory that no thread has taken, short and long ones.
    ready: [usize; 2],
    /// Long ones that a thread does.
    long_taken: usize,
}

impl Load {
    /// The threads that it takes to do what there is: one for each long call, and for so many short ones.
    fn needed(&self) -> usize {
        let [short, long] = self.ready;
        self.long_taken + long + short.div_ceil(AHEAD)
    }

    fn with_one_more(self, is_short: bool) -> Self {
        let [short, long] = self.ready;
        Self { ready: if is_short { [short + 1, long] } else { [short, long + 1] }, ..self }
    }
}

impl LaneQueue {
    /// A queue in which `limit` calls may wait.
    pub(super) fn new(lane: Lane, limit: usize, patience: Duration, memory: &Memory) -> Self {
        let mailboxes = memory.layout().mailboxes(lane).len();
        let under_way = std::iter::repeat_with(|| None).take(mailboxes).collect();
        let state = QueueState { waiting: FairQueue::default(), under_way, last_turn: 0, closed: None };
        Self {
            lane,
            limit,
            patience,
            usual: ServiceTimes::default(),
            late: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Takes a call, or ends it with the reason why not. Another may have to end for it.
    ///
    /// # Errors
    /// If the memory is not as it was left. The queue is then to be closed, which ends the call.
    pub(super) fn send(&self, memory: &Memory, call: Call) -> Result<(), Corrupted> {
        let mut state = self.state.lock();
        if let Err(refusal) = self.admits(&state, memory, &call) {
            drop(state);
            call.end(Err(refusal));
            return Ok(());
        }
        let is_full = state.places_taken(self, memory) >= self.limit && self.room_for(&state, memory, &call).is_none();
        let pushed_out = if is_full { state.waiting.shed() } else { None };
        state.waiting.push(call);
        let filled = self.fill(&mut state, memory);
        drop(state);
        if let Some(call) = pushed_out {
            call.end(Err(HsmError::new(Kind::Busy, "queue", "the queue is full, and the place is another caller's")));
        }
        filled
    }

    fn admits(&self, state: &QueueState, memory: &Memory, call: &Call) -> Result<(), HsmError> {
        if let Some(closed) = &state.closed {
            return Err(closed.clone());
        }
        if state.waiting.is_empty() && self.room_for(state, memory, call).is_some() {
            return Ok(());
        }
        let is_full = state.places_taken(self, memory) >= self.limit;
        if is_full && !state.waiting.has_less_than_its_share(call.asker(), self.limit) {
            return Err(HsmError::new(Kind::Busy, "queue", "the queue is full"));
        }
        let wait = self.usual.wait(state.waiting.ahead_of(call.asker()), self.threads(memory));
        match wait > call.deadline.since(Moment::now()) {
            true => Err(HsmError::new(Kind::Busy, "queue", "its turn would not come before its deadline")),
            false => Ok(()),
        }
    }

    /// The mailbox for a call that a thread will take at once, or soon.
    fn room_for(&self, state: &QueueState, memory: &Memory, call: &Call) -> Option<usize> {
        let free = state.under_way.iter().position(Option::is_none)?;
        let load = self.load(state, memory).with_one_more(self.is_short(call.class));
        (load.needed() <= load.awake + load.asleep).then_some(free)
    }

    /// Moves calls from the queue to the memory, as long as there is room for them, and wakes threads for them.
    fn fill(&self, state: &mut QueueState, memory: &Memory) -> Result<(), Corrupted> {
        let range = memory.layout().mailboxes(self.lane);
        while let Some(call) = state.waiting.pop() {
            if call.is_over(Moment::now()) {
                continue;
            }
            let Some(index) = self.room_for(state, memory, &call) else {
                state.waiting.push_front(call);
                return Ok(());
            };
            state.last_turn += 1;
            let turn = Turn(state.last_turn);
            if let Err(corrupted) = memory.mailboxes().put(range.start + index, turn, &call.order) {
                state.waiting.push_front(call);
                return Err(corrupted);
            }
            if let Some(place) = state.under_way.get_mut(index) {
                *place = Some(UnderWay { turn, call });
            }
            self.wake(state, memory);
        }
        Ok(())
    }

    /// Wakes a thread if those that are awake will not soon have done what there is.
    fn wake(&self, state: &QueueState, memory: &Memory) {
        let load = self.load(state, memory);
        if load.needed() > load.awake {
            memory.bells().wake_one(memory.layout().threads(self.lane));
        }
    }

    fn load(&self, state: &QueueState, memory: &Memory) -> Load {
        let layout = memory.layout();
        let (asleep, awake) = memory.bells().asleep_and_awake(layout.threads(self.lane));
        let mut load = Load { asleep, awake, ..Load::default() };
        for (mailbox, under_way) in layout.mailboxes(self.lane).zip(&state.under_way) {
            let Some(UnderWay { call, .. }) = under_way else { continue };
            match (memory.mailboxes().state(mailbox).map(|state| state.stage), self.is_short(call.class)) {
                (Ok(Stage::Ready), is_short) => load.ready[usize::from(!is_short)] += 1,
                (Ok(Stage::Taken), false) => load.long_taken += 1,
                _ => {}
            }
        }
        load
    }

    /// Ends the calls whose replies are there, and sends the next; whether there were any.
    ///
    /// # Errors
    /// If the memory is not as it was left. Nothing that is in it can be believed.
    pub(super) fn reap(&self, memory: &Memory) -> Result<bool, Corrupted> {
        let mut ended: Vec<(Call, Outcome)> = Vec::new();
        let mut state = self.state.lock();
        let mut whole = Ok(());
        for (mailbox, under_way) in memory.layout().mailboxes(self.lane).zip(&mut state.under_way) {
            let Some(UnderWay { turn, call }) = under_way else { continue };
            match memory.mailboxes().take_answer(mailbox, *turn, call.order.len()) {
                Ok(None) => {}
                Ok(Some(reply)) => ended.extend(under_way.take().map(|under_way| (under_way.call, Ok(reply)))),
                Err(corrupted) => whole = Err(corrupted),
            }
        }
        if !ended.is_empty() && whole.is_ok() {
            whole = self.fill(&mut state, memory);
        }
        drop(state);
        let is_any = !ended.is_empty();
        let now = Moment::now();
        let late = ended.iter().filter(|(call, _)| call.deadline < now).count();
        self.late.fetch_add(late as u64, Ordering::Relaxed);
        ended.into_iter().for_each(|(call, outcome)| call.end(outcome));
        whole.map(|()| is_any)
    }

    /// Looks after what nobody tells: calls that nobody waits for any more, threads that were expected back and are not. The
    /// threads whose calls do not return, which are given up.
    ///
    /// # Errors
    /// As [`Self::reap`].
    pub(super) fn look(&self, memory: &Memory) -> Result<Vec<usize>, Corrupted> {
        let now = Moment::now();
        let mut given_up = Vec::new();
        let mut state = self.state.lock();
        for (mailbox, under_way) in memory.layout().mailboxes(self.lane).zip(&mut state.under_way) {
            let Some(UnderWay { turn, call }) = under_way else { continue };
            let began = memory.mailboxes().began(mailbox);
            if began.is_some_and(|began| began > Moment::now()) {
                return Err(Corrupted);
            }
            let is_overdue = began.is_some_and(|began| call.deadline.max(began.plus(self.patience)) < now);
            let taken_back = match is_overdue {
                true => {
                    memory.mailboxes().take_back(mailbox, *turn, Stage::Taken).inspect(|thread| given_up.push(*thread))
                }
                false if call.is_over(now) => memory.mailboxes().take_back(mailbox, *turn, Stage::Ready),
                false => None,
            };
            if taken_back.is_some()
                && let Some(UnderWay { call, .. }) = under_way.take()
            {
                call.end(Err(HsmError::timeout()));
            }
        }
        self.fill(&mut state, memory)?;
        self.wake(&state, memory);
        if state.places_taken(self, memory) > 0 {
            // A thread that sleeps may have had its word written over.
            memory.bells().wake_whatever_they_say(memory.layout().threads(self.lane));
        }
        Ok(given_up)
    }

    /// Ends all calls with this error, and those to come.
    pub(super) fn close(&self, why: &HsmError) {
        let mut state = self.state.lock();
        state.closed.get_or_insert_with(|| why.clone());
        let mut ended: Vec<Call> = std::iter::from_fn(|| state.waiting.pop()).collect();
        ended.extend(state.under_way.iter_mut().filter_map(Option::take).map(|under_way| under_way.call));
        drop(state);
        ended.into_iter().for_each(|call| call.end(Err(why.clone())));
    }

    /// A call has taken so long.
    pub(super) fn note(&self, class: CostClass, took: Duration) {
        self.usual.note(class, took);
    }

    /// The calls whose replies came after their deadlines.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The calls that wait for a thread, and those that one makes.
    pub(super) fn waiting_and_taken(&self, memory: &Memory) -> (usize, usize) {
        let state = self.state.lock();
        let at = |stage| state.mailboxes_at(self, memory, stage);
        (state.waiting.len() + at(Stage::Ready), at(Stage::Taken) + at(Stage::Writing))
    }

    /// The threads that do commands: those that have a session, or may have one.
    pub(super) fn threads(&self, memory: &Memory) -> usize {
        let (asleep, awake) = memory.bells().asleep_and_awake(memory.layout().threads(self.lane));
        asleep + awake
    }

    fn is_short(&self, class: CostClass) -> bool {
        class == CostClass::Aes && self.usual.time(CostClass::Aes).is_some_and(|time| time <= SHORT)
    }
}

impl QueueState {
    /// The calls that wait for a thread, in the queue or in the memory.
    fn places_taken(&self, queue: &LaneQueue, memory: &Memory) -> usize {
        self.waiting.len() + self.mailboxes_at(queue, memory, Stage::Ready)
    }

    fn mailboxes_at(&self, queue: &LaneQueue, memory: &Memory, stage: Stage) -> usize {
        let occupied = memory.layout().mailboxes(queue.lane).zip(&self.under_way).filter(|(_, place)| place.is_some());
        occupied
            .filter(|(mailbox, _)| memory.mailboxes().state(*mailbox).is_ok_and(|state| state.stage == stage))
            .count()
    }
}

#[cfg(test)]
mod tests;
