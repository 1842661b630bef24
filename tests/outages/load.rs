//! Callers that never rest, and what became of each call.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::rig::{Answer, Caller, Rig};

/// One call: when it began and ended, and its exception.
#[derive(Clone, Debug)]
pub struct Done {
    pub began: Instant,
    pub ended: Instant,
    pub code: String,
}

/// A load that runs until it is stopped.
pub struct Load {
    done: Arc<Mutex<Vec<Done>>>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What is called in turn.
#[derive(Clone)]
pub struct Calls(Arc<Vec<(&'static str, Value)>>);

impl Calls {
    /// Encrypt, Decrypt and GenerateDataKey under one key.
    pub fn of(rig: &Rig) -> Self {
        let made = rig.ok("CreateKey", &json!({}));
        let key = &made["KeyMetadata"]["KeyId"];
        let blob = rig.ok("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}))["CiphertextBlob"].clone();
        Self(Arc::new(vec![
            ("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})),
            ("Decrypt", json!({"CiphertextBlob": blob})),
            ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ]))
    }

    async fn make(&self, caller: &Caller, number: usize) -> Answer {
        let (operation, body) = &self.0[number % self.0.len()];
        caller.call(operation, body).await
    }
}

impl Load {
    /// A new call every `period`, whatever has become of those before.
    pub fn every(rig: &Rig, calls: &Calls, period: Duration) -> Self {
        let load = Self::nothing();
        let (calls, caller) = (calls.clone(), rig.caller());
        let (done, over) = (Arc::clone(&load.done), Arc::clone(&load.over));
        let task = rig.runtime.spawn(async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            for number in 0.. {
                ticks.tick().await;
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (calls, caller, done) = (calls.clone(), caller.clone(), Arc::clone(&done));
                tokio::spawn(async move { note(&done, &calls, &caller, number).await });
            }
        });
        Self { tasks: vec![task], ..load }
    }

    /// So many callers, each with one call after the other.
    pub fn closed(rig: &Rig, calls: &Calls, callers: usize) -> Self {
        let load = Self::nothing();
        let tasks = (0..callers).map(|first| {
            let (calls, caller) = (calls.clone(), rig.caller());
            let (done, over) = (Arc::clone(&load.done), Arc::clone(&load.over));
            rig.runtime.spawn(async move {
                for number in first.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    note(&done, &calls, &caller, number).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { tasks, ..load }
    }

    fn nothing() -> Self {
        Self { done: Arc::default(), over: Arc::default(), tasks: Vec::new() }
    }

    /// When the last call began that failed.
    pub fn last_failure(&self) -> Option<Instant> {
        self.done.lock().unwrap().iter().rev().find(|done| !done.code.is_empty()).map(|done| done.began)
    }

    /// Ends the load; everything that became of it.
    pub fn stop(self, rig: &Rig) -> Vec<Done> {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.into_iter().for_each(|task| rig.runtime.block_on(task).unwrap());
        // Those that the last of them started.
        std::thread::sleep(Duration::from_millis(700));
        self.done.lock().unwrap().clone()
    }
}

async fn note(done: &Mutex<Vec<Done>>, calls: &Calls, caller: &Caller, number: usize) {
    let began = Instant::now();
    let answer = calls.make(caller, number).await;
    let code = if answer.status == 200 { String::new() } else { answer.code().to_owned() };
    done.lock().unwrap().push(Done { began, ended: Instant::now(), code });
}

/// How often each exception came; success has no name.
pub fn codes(done: &[Done]) -> BTreeMap<&str, usize> {
    let mut codes = BTreeMap::new();
    done.iter().for_each(|done| *codes.entry(done.code.as_str()).or_default() += 1);
    codes
}

/// Nothing but what clients try again.
#[track_caller]
pub fn assert_only_retryable(done: &[Done]) {
    let others = done.iter().filter(|done| {
        !matches!(
            done.code.as_str(),
            "" | "DependencyTimeoutException" | "ThrottlingException" | "KeyUnavailableException"
        )
    });
    let others: Vec<_> = others.collect();
    assert!(others.is_empty(), "{:?}", codes(done));
}

/// The time that `share` (0.99) of the successful calls did not exceed.
pub fn quantile(done: &[Done], share: f64) -> Duration {
    let good = done.iter().filter(|done| done.code.is_empty());
    let mut times: Vec<Duration> = good.map(|done| done.ended - done.began).collect();
    times.sort_unstable();
    let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}
