//! The counts of engines that are gone: they go on when an engine takes the place of another.

use std::collections::BTreeMap;

use super::backend::EngineReport;
use crate::hsm::counts::ErrorCount;

/// Counts since the start of the service.
#[derive(Default)]
pub(in crate::hsm) struct PastCounts {
    errors: BTreeMap<(String, String), u64>,
    threads_replaced: u64,
    calls_late: u64,
}

impl PastCounts {
    /// Keeps what an engine has counted that is gone now.
    pub(in crate::hsm) fn keep(&mut self, report: &EngineReport) {
        for ErrorCount { function, code, count } in &report.errors {
            *self.errors.entry((function.clone(), code.clone())).or_default() += count;
        }
        self.threads_replaced += report.gauges.threads_replaced;
        self.calls_late += report.gauges.calls_late;
    }

    pub(in crate::hsm) fn add_to(&self, report: &mut EngineReport) {
        let mut all = Self::default();
        all.keep(report);
        for (pair, count) in &self.errors {
            *all.errors.entry(pair.clone()).or_default() += count;
        }
        let counts = all.errors.into_iter();
        report.errors = counts.map(|((function, code), count)| ErrorCount { function, code, count }).collect();
        report.gauges.threads_replaced += self.threads_replaced;
        report.gauges.calls_late += self.calls_late;
    }
}
