//! The load: callers that each ask, wait for the answer, and ask again.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};

use super::latencies::Latencies;

/// A caller, which asks for the same thing again and again.
pub trait Caller: Send + 'static {
    /// Asks once, and waits for the answer. An error is the name under which such errors are counted.
    fn ask(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// The calls of all callers in a stretch of time.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of calls that succeeded.
    pub latencies: Latencies,
    /// The number of calls that failed, by the name of the error.
    pub errors: BTreeMap<String, u64>,
    /// The time from the first call to the last answer.
    pub took: Duration,
}

impl Tally {
    fn note(&mut self, outcome: Result<(), String>, time: Duration) {
        match outcome {
            Ok(()) => self.latencies.note(time),
            Err(name) => *self.errors.entry(name).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        other.errors.into_iter().for_each(|(name, count)| *self.errors.entry(name).or_default() += count);
    }
}

/// Has every caller call for `time`, and answers the callers and their calls. Calls that are under way then are waited for.
///
/// # Errors
/// If a caller panics.
pub async fn run<C: Caller>(callers: Vec<C>, time: Duration) -> Result<(Vec<C>, Tally), JoinError> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(call_until(caller, began + time));
    }
    let (mut callers, mut all) = (Vec::new(), Tally::default());
    while let Some(done) = tasks.join_next().await {
        let (caller, tally) = done?;
        callers.push(caller);
        all.add(tally);
    }
    all.took = began.elapsed();
    Ok((callers, all))
}

async fn call_until<C: Caller>(mut caller: C, until: Instant) -> (C, Tally) {
    let mut tally = Tally::default();
    let mut now = Instant::now();
    while now < until {
        let outcome = caller.ask().await;
        let then = std::mem::replace(&mut now, Instant::now());
        tally.note(outcome, now - then);
    }
    (caller, tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with every second call.
    struct Moody(u64);

    impl Caller for Moody {
        async fn ask(&mut self) -> Result<(), String> {
            self.0 += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.0.is_multiple_of(2) { Err("Mood".to_owned()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn every_call_of_every_caller_is_counted_once() {
        let (callers, tally) = run(vec![Moody(0), Moody(0), Moody(0)], Duration::from_millis(40)).await.expect("ran");
        let asked: u64 = callers.iter().map(|Moody(asked)| asked).sum();
        assert_eq!((callers.len(), tally.latencies.total() + tally.errors["Mood"]), (3, asked));
        assert!(tally.latencies.total() >= tally.errors["Mood"] && tally.took >= Duration::from_millis(40));
    }
}
