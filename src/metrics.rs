//! Metrics in OpenMetrics text (github.com/prometheus/OpenMetrics). `docs/metrics.md` explains each.
//!
//! Calls and connections are counted as they happen. All other values come as a [`Sample`], which is collected from their owners at
//! each scrape, so no other part of the service knows about metrics.

mod hsms;
mod process;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use self::{hsms::Hsms, process::Process};

pub use self::hsms::{HsmErrors, HsmSample};

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    calls: Family<OfOutcome, Counter>,
    seconds: Family<OfOperation, Histogram, fn() -> Histogram>,
    ready: Gauge,
    connections: Gauge,
    lost_connections: Family<OfReason, Counter>,
    sampled: Sampled,
    hsms: Hsms,
    process: Process,
}

/// The values that are collected at a scrape.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The HSMs.
    pub hsms: Vec<HsmSample>,
    /// Calls of HSMs that failed since the start, by function and code.
    pub hsm_errors: Vec<HsmErrors>,
    /// Audit records written since the start.
    pub audit_records: u64,
    /// Attempts to write to the audit trail that failed since the start.
    pub audit_failures: u64,
    /// True if the audit trail can be written.
    pub audit_writable: bool,
    /// Changes of the store that are being made or wait for their turn.
    pub store_writers: usize,
    /// How long the store's files are, in bytes.
    pub store_bytes: u64,
    /// How many keys are in each state.
    pub keys: BTreeMap<&'static str, usize>,
    /// How long ago the view was last proven up to date.
    pub view_age: Duration,
    /// True if the clock has jumped and no operator has confirmed it.
    pub clock_in_doubt: bool,
    /// The certificate that clients are shown, if any is.
    pub certificate: Option<CertificateSample>,
    /// When the process began, in seconds since 1970.
    pub began: f64,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct CertificateSample {
    /// The file that it was read from.
    pub file: String,
    /// Days until it is not valid any more; negative afterwards.
    pub days_left: f64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOutcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFile {
    file: String,
}

/// The metrics whose values come with a [`Sample`].
#[derive(Default)]
struct Sampled {
    audit_records: Counter,
    audit_failures: Counter,
    audit_writable: Gauge,
    store_writers: Gauge,
    store_bytes: Gauge,
    keys: Family<OfState, Gauge>,
    view_age: Gauge<f64, AtomicU64>,
    clock_in_doubt: Gauge,
    certificate_days_left: Family<OfFile, Gauge<f64, AtomicU64>>,
    /// The certificate that is shown.
    certificate: Mutex<Option<OfFile>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut all = Registry::default();
        let process = Process::register(&mut all);
        let registry = all.sub_registry_with_prefix("strongroom");
        registry.register("build", "Which program this is", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        let calls = Family::default();
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register("calls", "Calls answered, by operation and outcome", calls.clone());
        registry.register("call_seconds", "Time from request to answer", seconds.clone());
        let ready = Gauge::default();
        let connections = Gauge::default();
        let lost_connections = Family::default();
        registry.register("ready", "Whether calls can work, as /readyz says", ready.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        let help = "Connections that came to nothing, by reason";
        registry.register("lost_connections", help, lost_connections.clone());
        let sampled = Sampled::register(registry);
        let hsms = Hsms::register(registry);
        Self { registry: all, calls, seconds, ready, connections, lost_connections, sampled, hsms, process }
    }

    /// Counts one answered call; `outcome` is `Success` or the name of the exception.
    pub fn observe_call(&self, operation: &'static str, outcome: &'static str, seconds: f64) {
        self.calls.get_or_create(&OfOutcome { operation, outcome }).inc();
        self.seconds.get_or_create(&OfOperation { operation }).observe(seconds);
    }

    /// Counts one lost connection, by its reason.
    pub fn observe_lost_connection(&self, reason: &'static str) {
        self.lost_connections.get_or_create(&OfReason { reason }).inc();
    }

    /// Sets the gauge of readiness.
    pub fn observe_readiness(&self, is_ready: bool) {
        self.ready.set(is_ready.into());
    }

    /// Counts a connection that was opened, or closed.
    pub fn observe_connection(&self, is_open: bool) {
        if is_open {
            self.connections.inc()
        } else {
            self.connections.dec()
        };
    }

    /// Everything as text, with the values of `sample`.
    pub fn render(&self, sample: &Sample) -> String {
        self.sampled.take(sample);
        self.hsms.take(&sample.hsms, &sample.hsm_errors);
        self.process.take(sample.began);
        let mut text = String::new();
        // A String takes all that is written to it; an unfinished text has no `# EOF`, so a scraper would refuse it.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl Sampled {
    fn register(registry: &mut Registry) -> Self {
        let sampled = Self::default();
        let mut add = |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        let help = "Whether the clock has jumped, so that nothing is deleted, expires or rotates until an operator confirms it";
        add("clock_in_doubt", help, &sampled.clock_in_doubt);
        add("store_writers", "Changes of the store under way or waiting for their turn", &sampled.store_writers);
        let help = "Whether the audit trail can be written; while it cannot, nothing is done";
        add("audit_writable", help, &sampled.audit_writable);
        let mut add = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add("audit_records", "Audit records written", &sampled.audit_records);
        add("audit_failures", "Attempts to write to the audit trail that failed", &sampled.audit_failures);
        registry.register("keys", "Keys by state", sampled.keys.clone());
        let help = "Length of the database and its write-ahead log";
        registry.register_with_unit("store", help, Unit::Bytes, sampled.store_bytes.clone());
        let help = "Time since the view was last proven up to date";
        registry.register_with_unit("view_age", help, Unit::Seconds, sampled.view_age.clone());
        let help = "Days until the certificate that clients are shown is not valid any more";
        registry.register("certificate_days_left", help, sampled.certificate_days_left.clone());
        sampled
    }

    fn take(&self, sample: &Sample) {
        set(&self.audit_records, sample.audit_records);
        set(&self.audit_failures, sample.audit_failures);
        self.audit_writable.set(sample.audit_writable.into());
        show(&self.store_writers, sample.store_writers as u64);
        show(&self.store_bytes, sample.store_bytes);
        self.clock_in_doubt.set(sample.clock_in_doubt.into());
        self.view_age.set(sample.view_age.as_secs_f64());
        for (state, count) in &sample.keys {
            show(&self.keys.get_or_create(&OfState { state }), *count as u64);
        }
        self.show_certificate(sample.certificate.as_ref());
    }

    /// The certificate may come from another file than before, whose metric is removed then.
    fn show_certificate(&self, sample: Option<&CertificateSample>) {
        let mut shown = self.certificate.lock();
        let file = sample.map(|certificate| OfFile { file: certificate.file.clone() });
        if let Some(gone) = shown.take().filter(|shown| Some(shown) != file.as_ref()) {
            self.certificate_days_left.remove(&gone);
        }
        if let Some((file, certificate)) = file.as_ref().zip(sample) {
            self.certificate_days_left.get_or_create(file).set(certificate.days_left);
        }
        *shown = file;
    }
}

/// Sets a gauge.
fn show(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Sets a counter to its owner's count. It never goes back: samples of two scrapes at once may come in any order.
fn set(counter: &Counter, value: u64) {
    counter.inner().fetch_max(value, Ordering::Relaxed);
}

/// From a refusal (0.1 ms) to a call that waited for its deadline (10 s).
fn histogram() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

#[cfg(test)]
mod tests;
