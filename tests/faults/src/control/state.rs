//! What a controller knows: the plan, the instances that are connected, and what they have told.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::{CKR_PIN_INCORRECT, CKR_PIN_LOCKED};

use crate::code;
use crate::module::micros;
use crate::rule::Rule;
use crate::wire::{Answer, Entry, Order, Outcome, Report, RuleId, What};
use crate::world::World;

/// An instance that does not answer for so long, a stopped process perhaps, is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call that an instance has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub pid: u32,
    pub thread: u64,
    pub function: String,
    /// The virtual handle; 0 for functions without a session.
    pub session: u64,
    /// On the monotonic clock.
    pub micros: u64,
    /// None while it has not come back.
    pub outcome: Option<Outcome>,
}

/// What was tried with one PIN, of which only 32 bits of a salted hash are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub pin: String,
    pub attempts: u64,
    /// How often each code was answered.
    pub outcomes: BTreeMap<String, u64>,
}

pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct State {
    closed: bool,
    last: u64,
    salt: u64,
    connections: BTreeMap<u64, Connection>,
    rules: BTreeMap<RuleId, Planned>,
    /// Events that last.
    world: Vec<World>,
    complaints: Vec<(String, u64)>,
    logins: BTreeMap<String, Login>,
    /// Calls of instances that are gone.
    past: Vec<Call>,
    /// Calls from this moment on are told.
    since: u64,
}

struct Planned {
    /// None when it has been removed; its hits are still to be asked for.
    rule: Option<Rule>,
    hits: u64,
    stopped: bool,
}

pub struct Connection {
    pid: u32,
    stream: UnixStream,
    /// The number of the last order that it has done, and its answers.
    answers: BTreeMap<u64, Answer>,
    calls: BTreeMap<u64, Entry>,
}

impl Shared {
    pub fn new() -> Self {
        Self { state: Mutex::new(State::new()), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.lock())
    }

    /// Waits until it is so; the answer is whether it became so in time.
    pub fn wait(&self, at_most: Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, |state| !is_so(state));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Changes the state and tells every instance; comes back when all have done it.
    pub fn tell_all(&self, change: impl FnOnce(&mut State) -> What) -> Vec<Answer> {
        let mut state = self.lock();
        let what = change(&mut state);
        self.send_and_wait(state, |_| what.clone())
    }

    /// Tells each instance something of its own.
    pub fn tell(&self, what: impl Fn(&Connection) -> What) -> Vec<Answer> {
        self.send_and_wait(self.lock(), what)
    }

    fn send_and_wait(&self, mut state: MutexGuard<'_, State>, what: impl Fn(&Connection) -> What) -> Vec<Answer> {
        state.last += 1;
        let number = state.last;
        let told: Vec<u64> = state.connections.keys().copied().collect();
        for connection in state.connections.values_mut() {
            let order = Order { number, what: what(connection) };
            connection.send(&order);
        }
        let until = Instant::now() + PATIENCE;
        while told.iter().any(|id| state.owes(*id, number)) && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.connections.values_mut().filter_map(|connection| connection.answers.remove(&number)).collect()
    }

    /// An instance has connected; it is told all that holds.
    pub fn welcome(&self, pid: u32, stream: UnixStream) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        let mut connection = Connection { pid, stream, answers: BTreeMap::new(), calls: BTreeMap::new() };
        connection.send(&Order { number: id, what: state.beginning() });
        state.connections.insert(id, connection);
        drop(state);
        self.changed.notify_all();
        id
    }

    pub fn note(&self, id: u64, report: Report) {
        self.lock().note(id, report);
        self.changed.notify_all();
    }

    pub fn farewell(&self, id: u64) {
        self.lock().bury(id);
        self.changed.notify_all();
    }
}

impl State {
    fn new() -> Self {
        Self {
            closed: false,
            last: 0,
            salt: salt(),
            connections: BTreeMap::new(),
            rules: BTreeMap::new(),
            world: Vec::new(),
            complaints: Vec::new(),
            logins: BTreeMap::new(),
            past: Vec::new(),
            since: 0,
        }
    }

    fn beginning(&self) -> What {
        let rules = self.rules.iter().filter_map(|(id, planned)| Some((*id, planned.remaining()?))).collect();
        What::Begin { rules, world: self.world.clone(), salt: self.salt }
    }

    fn owes(&self, id: u64, number: u64) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.answers.contains_key(&number))
    }

    pub fn plan(&mut self, rule: Rule) -> RuleId {
        self.last += 1;
        self.rules.insert(self.last, Planned { rule: Some(rule), hits: 0, stopped: false });
        self.last
    }

    pub fn forget(&mut self, rule: RuleId) {
        if let Some(planned) = self.rules.get_mut(&rule) {
            planned.rule = None;
        }
    }

    pub fn forget_all(&mut self) {
        self.rules.values_mut().for_each(|planned| planned.rule = None);
    }

    pub fn note_release(&mut self) {
        self.rules.values_mut().for_each(|planned| planned.stopped = false);
    }

    pub fn befall(&mut self, event: &World) {
        self.world.retain(|earlier| !event.ends(earlier));
        if event.lasts() {
            self.world.push(event.clone());
        }
    }

    pub fn hits(&self, rule: RuleId) -> u64 {
        self.rules.get(&rule).map_or(0, |planned| planned.hits)
    }

    pub fn is_stopped(&self, rule: RuleId) -> bool {
        self.rules.get(&rule).is_some_and(|planned| planned.stopped)
    }

    pub fn calls(&self) -> Vec<Call> {
        let present = self.connections.values().flat_map(Connection::told);
        let mut calls: Vec<_> = self.past.iter().cloned().chain(present).collect();
        calls.retain(|call| call.micros > self.since);
        // Those of one instance are in order already, and stay so.
        calls.sort_by_key(|call| call.micros);
        calls
    }

    pub fn reset_calls(&mut self) {
        self.since = micros();
        self.past.clear();
    }

    pub fn complaints(&self) -> Vec<String> {
        let text = |(text, count): &(String, u64)| match count {
            1 => text.clone(),
            _ => format!("{text} ({count} times)"),
        };
        self.complaints.iter().map(text).collect()
    }

    pub fn logins(&self) -> Vec<Login> {
        self.logins.values().cloned().collect()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.connections.values().map(|connection| connection.pid).collect()
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.connections.values().for_each(|connection| drop(connection.stream.shutdown(Shutdown::Both)));
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn note(&mut self, id: u64, report: Report) {
        match report {
            Report::Hello { .. } => {}
            Report::Done { number, answer } => self.note_done(id, number, answer),
            Report::Hit(rule) => self.on_rule(rule, |planned| planned.hits += 1),
            Report::Stopped(rule) => self.on_rule(rule, |planned| planned.stopped = true),
            Report::Complaint(text) => self.complain(text),
            Report::Login { pin, code } => self.note_login(pin, code),
            Report::Last(entries) => self.note_calls(id, entries),
        }
    }

    fn note_done(&mut self, id: u64, number: u64, answer: Answer) {
        let answer = match answer {
            Answer::Calls(entries) => {
                self.note_calls(id, entries);
                Answer::Nothing
            }
            other => other,
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.answers.insert(number, answer);
        }
    }

    fn note_calls(&mut self, id: u64, entries: Vec<Entry>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.calls.extend(entries.into_iter().map(|entry| (entry.number, entry)));
        }
    }

    fn on_rule(&mut self, rule: RuleId, change: impl FnOnce(&mut Planned)) {
        if let Some(planned) = self.rules.get_mut(&rule) {
            change(planned);
        }
    }

    fn complain(&mut self, text: String) {
        match self.complaints.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => self.complaints.push((text, 1)),
        }
    }

    fn note_login(&mut self, pin: String, answered: u64) {
        let login = self.logins.entry(pin.clone()).or_insert_with(|| Login { pin, ..Login::default() });
        let was_refused =
            [CKR_PIN_INCORRECT, CKR_PIN_LOCKED].map(code::name).iter().any(|it| login.outcomes.contains_key(it));
        login.attempts += 1;
        *login.outcomes.entry(code::name(answered)).or_insert(0) += 1;
        if was_refused {
            self.complain("C_Login: again with a PIN that has been refused".to_owned());
        }
    }

    fn bury(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.past.extend(connection.told());
        }
    }
}

impl Planned {
    /// What is left of the rule for an instance that comes now.
    fn remaining(&self) -> Option<Rule> {
        let rule = self.rule.clone()?;
        let times = rule.times.map(|times| times.saturating_sub(self.hits));
        (times != Some(0)).then_some(Rule { times, ..rule })
    }
}

impl Connection {
    /// An instance that is gone is noticed by its reader.
    fn send(&mut self, order: &Order) {
        if let Ok(mut line) = serde_json::to_vec(order) {
            line.push(b'\n');
            let _ = self.stream.write_all(&line);
        }
    }

    /// The first call about which there may be news.
    pub fn wanted_from(&self) -> u64 {
        let under_way = self.calls.values().find(|entry| entry.outcome.is_none()).map(|entry| entry.number);
        under_way.or_else(|| self.calls.keys().next_back().map(|last| last + 1)).unwrap_or(0)
    }

    fn told(&self) -> impl Iterator<Item = Call> {
        self.calls.values().map(|entry| Call {
            pid: self.pid,
            thread: entry.thread,
            function: entry.function.clone(),
            session: entry.session,
            micros: entry.micros,
            outcome: entry.outcome,
        })
    }
}

/// The hash of a PIN in one run says nothing about that in another.
fn salt() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(micros())
}
