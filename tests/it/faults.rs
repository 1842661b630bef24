//! The module of `tests/faults`, told what to do: a copy for each test, so that tests do not disturb each other.

use std::time::{Duration, Instant};

use strongroom::hsm::Settings;
use strongroom_faults::control::{Controller, RuleId, built, install};
use strongroom_faults::rule::Rule;
use tempfile::TempDir;

/// A copy of the module for faults and what tells it what to do.
pub struct Faults {
    control: Controller,
    // After the controller, whose socket is in it.
    _dir: TempDir,
}

/// While this is there, calls of one function do not reach the HSM.
pub struct Hold<'a> {
    faults: &'a Faults,
    rule: RuleId,
}

impl Faults {
    /// The module in front of that of `settings`, and the same settings through it.
    pub fn before(settings: Settings) -> (Self, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let module = install(dir.path(), &built(), &settings.module).unwrap();
        let control = Controller::new(dir.path()).unwrap();
        (Self { control, _dir: dir }, Settings { module, ..settings })
    }

    /// Has a rule hold until the answer is dropped.
    pub fn rule(&self, rule: Rule) -> Hold<'_> {
        Hold { faults: self, rule: self.control.rule(rule) }
    }

    /// Holds every call of `function` until the answer is dropped.
    pub fn hold(&self, function: &str) -> Hold<'_> {
        self.rule(Rule::on(function).hang())
    }

    /// Has every call of `function` answer this code, and not be done, until the answer is dropped.
    pub fn refuse(&self, function: &str, code: u64) -> Hold<'_> {
        self.rule(Rule::on(function).answer(code))
    }

    /// Has every call of `function` take so much longer until the answer is dropped.
    pub fn slow(&self, function: &str, millis: u64) -> Hold<'_> {
        self.rule(Rule::on(function).before().delay_ms(millis))
    }

    /// The sessions in which `function` has been called so far, in order.
    pub fn calls(&self, function: &str) -> Vec<u64> {
        let calls = self.control.calls().into_iter().filter(|call| call.function == function);
        calls.map(|call| call.session).collect()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.faults.control.remove(self.rule);
    }
}

/// Waits until it is so, for at most five seconds.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
