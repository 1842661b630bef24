//! The rules that hold in this instance, and which of them act on a call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::call::Call;
use super::shards::lock;
use crate::function::Function;
use crate::rule::Rule;
use crate::wire::RuleId;

/// How long a call waits for another to exchange its output with.
const EXCHANGE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Plan {
    /// Spares calls the look at the rules when there are none.
    any: AtomicBool,
    rules: RwLock<Vec<Arc<Installed>>>,
    /// How often what hangs has been released.
    releases: AtomicU64,
    sleepers: Mutex<()>,
    bell: Condvar,
}

/// A rule in this instance, and how far it is.
pub struct Installed {
    pub id: RuleId,
    pub rule: Rule,
    function: Option<Function>,
    since: Instant,
    seen: AtomicU64,
    acted: AtomicU64,
    removed: AtomicBool,
    /// The random bytes that are repeated.
    pub first_random: OnceLock<Vec<u8>>,
    exchange: Mutex<Option<Waiting>>,
    arrived: Condvar,
}

/// An output that waits for that of another session.
struct Waiting {
    session: u64,
    output: Vec<u8>,
    other: Option<Vec<u8>>,
}

impl Plan {
    pub fn install(&self, id: RuleId, rule: Rule) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        rules.push(Arc::new(Installed::new(id, rule)));
        self.any.store(true, Ordering::Release);
    }

    /// Calls that hang by this rule go on.
    pub fn remove(&self, id: RuleId) {
        self.retain(|installed| installed.id != id);
    }

    pub fn clear(&self) {
        self.retain(|_| false);
    }

    fn retain(&self, keep: impl Fn(&Installed) -> bool) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        rules.iter().filter(|one| !keep(one)).for_each(|one| one.removed.store(true, Ordering::Release));
        rules.retain(|one| keep(one));
        self.any.store(!rules.is_empty(), Ordering::Release);
        drop(rules);
        // Taking the lock makes sure that nobody is between looking and sleeping.
        drop(lock(&self.sleepers));
        self.bell.notify_all();
    }

    pub fn release(&self) {
        self.releases.fetch_add(1, Ordering::AcqRel);
        drop(lock(&self.sleepers));
        self.bell.notify_all();
    }

    /// How often there has been a release so far. A call asks when it comes in, before anybody can know of it: a release that
    /// somebody gives because of this call is then later, and counts.
    pub fn releases(&self) -> u64 {
        self.releases.load(Ordering::Acquire)
    }

    /// Waits for a release after that number of them, or until the rule is removed.
    pub fn hang(&self, installed: &Installed, begun: u64) {
        let hangs = |(): &mut ()| self.releases() == begun && !installed.removed.load(Ordering::Acquire);
        drop(self.bell.wait_while(lock(&self.sleepers), hangs));
    }

    /// Counts the call in each rule that it matches; the answer is those that act on it.
    pub fn acting_on(&self, call: &Call) -> Vec<Arc<Installed>> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().filter(|installed| installed.acts_on(call)).cloned().collect()
    }
}

impl Installed {
    fn new(id: RuleId, rule: Rule) -> Self {
        Self {
            id,
            function: rule.function.as_deref().and_then(Function::named),
            rule,
            since: Instant::now(),
            seen: AtomicU64::new(0),
            acted: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            first_random: OnceLock::new(),
            exchange: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    fn acts_on(&self, call: &Call) -> bool {
        if !self.is_about(call) || !self.in_window() {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        number >= self.rule.nth && self.by_chance(number) && self.has_a_time_left()
    }

    fn is_about(&self, call: &Call) -> bool {
        let any_function = self.rule.function.is_none();
        (any_function || self.function == Some(call.function))
            && self.rule.session.is_none_or(|session| call.session == Some(session))
            && self.rule.slot.is_none_or(|slot| call.slot == Some(slot))
            && self.rule.mechanism.is_none_or(|mechanism| call.mechanism_type() == Some(mechanism))
    }

    fn in_window(&self) -> bool {
        let millis = self.since.elapsed().as_millis() as u64;
        millis >= self.rule.from_ms && self.rule.until_ms.is_none_or(|until| millis < until)
    }

    fn by_chance(&self, number: u64) -> bool {
        self.rule.chance.is_none_or(|chance| fraction(self.rule.seed, number) < chance)
    }

    fn has_a_time_left(&self) -> bool {
        let Some(times) = self.rule.times else { return true };
        self.acted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |acted| (acted < times).then_some(acted + 1))
            .is_ok()
    }

    /// A number from 0 to 1 for the present call, the same in each run with this seed.
    pub fn dice(&self, which: u64) -> f64 {
        fraction(self.rule.seed ^ which.rotate_left(32), self.seen.load(Ordering::Relaxed))
    }

    /// The output of the next call of another session for that of this one; none when no such call comes.
    pub fn exchange(&self, session: u64, output: Vec<u8>) -> Option<Vec<u8>> {
        let mut place = lock(&self.exchange);
        match place.as_mut() {
            Some(waiting) if waiting.session != session && waiting.other.is_none() => {
                waiting.other = Some(output);
                self.arrived.notify_all();
                Some(std::mem::take(&mut waiting.output))
            }
            Some(_) => None,
            None => {
                *place = Some(Waiting { session, output, other: None });
                let nobody =
                    |place: &mut Option<Waiting>| place.as_ref().is_some_and(|waiting| waiting.other.is_none());
                let (mut place, _) =
                    self.arrived.wait_timeout_while(place, EXCHANGE, nobody).unwrap_or_else(PoisonError::into_inner);
                place.take()?.other
            }
        }
    }
}

/// From 0 to 1, by the mixing of splitmix64.
fn fraction(seed: u64, number: u64) -> f64 {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acted(rule: Rule) -> Vec<bool> {
        let installed = Installed::new(1, rule);
        (0..6).map(|_| installed.acts_on(&Call::of(Function::C_Encrypt))).collect()
    }

    #[test]
    fn a_rule_acts_from_the_nth_call_on_as_often_as_it_may() {
        assert_eq!(acted(Rule::on("C_Encrypt").nth(2).once()), [false, true, false, false, false, false]);
        assert_eq!(acted(Rule::on_any().nth(3)), [false, false, true, true, true, true]);
        assert_eq!(acted(Rule::on("C_Decrypt")), [false; 6]);
        assert_eq!(acted(Rule::on("C_Encryptt")), [false; 6], "a name that is none is not any");
        assert_eq!(acted(Rule::on_any().session(7)), [false; 6]);
        assert_eq!(acted(Rule::on_any().window_ms(3_600_000, 7_200_000)), [false; 6]);
    }

    #[test]
    fn chance_is_the_same_in_each_run() {
        let rule = || Rule::on_any().chance(0.5, 7);
        assert_eq!(acted(rule()), acted(rule()));
        let hits = (0..10_000).filter(|number| fraction(7, *number) < 0.25).count();
        assert!((2300..2700).contains(&hits), "{hits}");
    }
}
