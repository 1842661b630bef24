//! The metrics: counts of calls, and the sample that is collected from the owners of other values at each scrape.

use std::time::Duration;

use crate::{
    hsm::{Kind, Standing},
    kms::Kms,
    metrics::{CertificateSample, HsmErrors, HsmSample, Sample},
};

impl Kms {
    /// Counts a call by its operation and its exception or `Success`.
    pub fn observe_call(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.metrics.observe_call(operation, result, took.as_secs_f64());
    }

    /// Counts a lost connection, by its reason.
    pub fn observe_lost_connection(&self, reason: &'static str) {
        self.metrics.observe_lost_connection(reason);
    }

    /// Counts a connection that was opened, or closed.
    pub fn observe_connection(&self, is_open: bool) {
        self.metrics.observe_connection(is_open);
    }

    /// Sets the gauge of readiness, as [`Self::readiness`] answers.
    pub fn observe_readiness(&self, is_ready: bool) {
        self.metrics.observe_readiness(is_ready);
    }

    /// The metrics, in the text format that Prometheus reads.
    pub fn metrics_text(&self) -> String {
        let standings = self.hsm.standing().into_iter().chain(self.connections.standing());
        let errors = self.hsm.errors().into_iter();
        let now = self.clock.now();
        let certificate = self.readiness.certificate().map(|certificate| CertificateSample {
            days_left: certificate.validity.days_left(now),
            file: certificate.file,
        });
        let states = self.store.view().keys_by_state();
        self.metrics.render(&Sample {
            hsms: standings.map(sample).collect(),
            hsm_errors: errors.map(|e| HsmErrors { function: e.function, code: e.code, count: e.count }).collect(),
            audit_records: self.trail.records(),
            audit_failures: self.trail.failures(),
            audit_writable: self.trail.trouble().is_none(),
            store_writers: self.store.writers(),
            store_bytes: self.store.size(),
            keys: states.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
            view_age: self.store.freshness(),
            clock_in_doubt: self.running_time.jump().is_some(),
            certificate,
            began: self.readiness.began.epoch_seconds(),
        })
    }
}

fn sample(hsm: Standing) -> HsmSample {
    let gauges = hsm.gauges;
    HsmSample {
        up: hsm.trouble.is_none(),
        pin_refused: hsm.refusal.is_some_and(|error| error.kind == Kind::PinRefused),
        name: hsm.name,
        restarts: hsm.restarts,
        queue_depth: gauges.queue_depth as u64,
        sessions: gauges.sessions as u64,
        sessions_busy: gauges.sessions_busy as u64,
        cached_handles: gauges.cached_handles as u64,
        threads_replaced: gauges.threads_replaced,
    }
}
