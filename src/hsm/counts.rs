//! Counts and gauges of an HSM, for the metrics.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;

/// Different (function, code) pairs that are counted apart; vendors have 2^31 codes.
const MAX_COUNTED: usize = 256;

/// Numbers of this moment, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Commands that wait for a worker.
    pub queue_depth: usize,
    /// Sessions that do commands: fewer than workers while the token has none left for all of them.
    pub sessions: usize,
    /// Those of them that are in a call.
    pub sessions_busy: usize,
    /// Threads that were given up because a call did not return, since the start.
    pub threads_replaced: u64,
    /// Handles in the cache.
    pub cached_handles: usize,
    /// Calls that ended after their deadline, since the start.
    pub calls_late: u64,
    /// Threads that were given up and are still in their calls.
    pub threads_lost: u64,
}

impl Gauges {
    /// The numbers of two engines together.
    pub(in crate::hsm) fn plus(self, other: Self) -> Self {
        Self {
            queue_depth: self.queue_depth + other.queue_depth,
            sessions: self.sessions + other.sessions,
            sessions_busy: self.sessions_busy + other.sessions_busy,
            threads_replaced: self.threads_replaced + other.threads_replaced,
            cached_handles: self.cached_handles + other.cached_handles,
            calls_late: self.calls_late + other.calls_late,
            threads_lost: self.threads_lost + other.threads_lost,
        }
    }
}

/// How often a function answered a code, since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The PKCS#11 function.
    pub function: String,
    /// The code by its name in the standard.
    pub code: String,
    /// How often.
    pub count: u64,
}

/// Every code but CKR_OK that was answered to a command, and how often.
#[derive(Default)]
pub(in crate::hsm) struct ErrorCounts(Mutex<HashMap<(Cow<'static, str>, String), u64>>);

impl ErrorCounts {
    /// Counts an answer of the HSM that was not CKR_OK.
    pub(in crate::hsm) fn note(&self, error: &HsmError) {
        if !error.is_answer() {
            return;
        }
        let mut errors = self.0.lock();
        let full = errors.len() >= MAX_COUNTED;
        let pair = (error.function.clone(), error.code.to_string());
        match errors.get_mut(&pair) {
            Some(count) => *count += 1,
            None if full => *errors.entry(("other".into(), "other".to_owned())).or_default() += 1,
            None => drop(errors.insert(pair, 1)),
        }
    }

    /// All of them.
    pub(in crate::hsm) fn all(&self) -> Vec<ErrorCount> {
        let errors = self.0.lock();
        let count = |((function, code), count): (&(Cow<'static, str>, String), &u64)| ErrorCount {
            function: function.to_string(),
            code: code.clone(),
            count: *count,
        };
        errors.iter().map(count).collect()
    }
}
