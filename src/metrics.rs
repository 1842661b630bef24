//! What the service counts, in OpenMetrics text (github.com/prometheus/OpenMetrics).
//!
//! Calls are counted as they happen. All else is asked of its owner when somebody scrapes, and handed in as a
//! [`Sample`], so no other part of the service knows about metrics.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    calls: Family<Call, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    lost_connections: Family<Lost, Counter>,
    sampled: Sampled,
}

/// What is asked when somebody scrapes.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The HSM.
    pub hsm: HsmSample,
    /// Audit records written since the start.
    pub audit_records: u64,
    /// Whether the audit trail can be written.
    pub audit_writable: bool,
    /// Changes of the store that are being made or wait for their turn.
    pub store_writers: usize,
    /// How long ago the view was last proven up to date.
    pub view_age: Duration,
    /// Whether the clock has jumped and nobody has confirmed it.
    pub clock_in_doubt: bool,
}

/// How the HSM is doing.
#[derive(Debug, Clone, Default)]
pub struct HsmSample {
    /// Commands that wait for a session.
    pub queue_depth: u64,
    /// Sessions that are open.
    pub sessions: u64,
    /// Sessions that are inside a call.
    pub sessions_busy: u64,
    /// Handles in the cache.
    pub cached_handles: u64,
    /// Threads given up since the start, because their call did not come back.
    pub threads_replaced: u64,
    /// Calls that failed since the start, by function and code.
    pub errors: Vec<HsmErrors>,
    /// How each HSM stands.
    pub standing: Vec<HsmStanding>,
}

/// How one HSM stands.
#[derive(Debug, Clone)]
pub struct HsmStanding {
    /// Its name in the configuration.
    pub name: String,
    /// Whether calls go to it.
    pub up: bool,
    /// How often it was opened again.
    pub restarts: u64,
}

/// How often a function of the HSM answered a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmErrors {
    /// `C_Encrypt`.
    pub function: String,
    /// `CKR_DEVICE_ERROR`.
    pub code: String,
    /// How often, since the start.
    pub count: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Lost {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HsmError {
    function: String,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct Member {
    hsm: String,
}

/// The metrics whose values come with a [`Sample`].
#[derive(Default)]
struct Sampled {
    /// The HSMs that are shown.
    hsms: Mutex<BTreeSet<Member>>,
    up: Family<Member, Gauge>,
    restarts: Family<Member, Counter>,
    queue_depth: Gauge,
    sessions: Gauge,
    sessions_busy: Gauge,
    cached_handles: Gauge,
    threads_replaced: Counter,
    errors: Family<HsmError, Counter>,
    audit_records: Counter,
    audit_writable: Gauge,
    store_writers: Gauge,
    view_age: Gauge<f64, AtomicU64>,
    clock_in_doubt: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("strongroom");
        let calls = Family::default();
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register("calls", "Calls answered, by operation and outcome", calls.clone());
        registry.register("call_seconds", "Time from request to answer", seconds.clone());
        let lost_connections = Family::default();
        let help = "Connections that came to nothing, by reason";
        registry.register("lost_connections", help, lost_connections.clone());
        let sampled = Sampled::register(&mut registry);
        Self { registry, calls, seconds, lost_connections, sampled }
    }

    /// Counts one answered call; `outcome` is `Success` or the name of the exception.
    pub fn observe_call(&self, operation: &'static str, outcome: &'static str, seconds: f64) {
        self.calls.get_or_create(&Call { operation, outcome }).inc();
        self.seconds.get_or_create(&Operation { operation }).observe(seconds);
    }

    /// Counts one connection that came to nothing.
    pub fn observe_lost_connection(&self, reason: &'static str) {
        self.lost_connections.get_or_create(&Lost { reason }).inc();
    }

    /// Everything as text, with the values of `sample`.
    pub fn render(&self, sample: &Sample) -> String {
        self.sampled.take(sample);
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
        add("hsm_queue_depth", "Commands that wait for a session", &sampled.queue_depth);
        add("hsm_sessions", "Sessions that are open", &sampled.sessions);
        add("hsm_sessions_busy", "Sessions that are inside a call", &sampled.sessions_busy);
        add("hsm_cached_handles", "Handles of materials in the cache", &sampled.cached_handles);
        let help = "Whether the clock has jumped, so that nothing is deleted, expires or rotates until an operator confirms it";
        add("clock_in_doubt", help, &sampled.clock_in_doubt);
        add("store_writers", "Changes of the store under way or waiting for their turn", &sampled.store_writers);
        let help = "Whether the audit trail can be written; while it cannot, nothing is done";
        add("audit_writable", help, &sampled.audit_writable);
        let mut add = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add("hsm_threads_replaced", "Threads given up because their call did not return", &sampled.threads_replaced);
        add("audit_records", "Audit records written", &sampled.audit_records);
        registry.register("hsm_errors", "Calls of the HSM that failed", sampled.errors.clone());
        registry.register("hsm_up", "Whether calls go to the HSM", sampled.up.clone());
        registry.register("hsm_restarts", "How often the HSM was opened again", sampled.restarts.clone());
        let help = "Time since the view was last proven up to date";
        registry.register_with_unit("view_age", help, Unit::Seconds, sampled.view_age.clone());
        sampled
    }

    fn take(&self, sample: &Sample) {
        let hsm = &sample.hsm;
        let gauges = [
            (&self.queue_depth, hsm.queue_depth),
            (&self.sessions, hsm.sessions),
            (&self.sessions_busy, hsm.sessions_busy),
            (&self.cached_handles, hsm.cached_handles),
        ];
        for (gauge, value) in gauges {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.forget_all_but(hsm.standing.iter().map(|standing| Member { hsm: standing.name.clone() }).collect());
        for HsmStanding { name, up, restarts } in &hsm.standing {
            let member = Member { hsm: name.clone() };
            self.up.get_or_create(&member).set((*up).into());
            set(&self.restarts.get_or_create(&member), *restarts);
        }
        set(&self.threads_replaced, hsm.threads_replaced);
        set(&self.audit_records, sample.audit_records);
        for HsmErrors { function, code, count } in &hsm.errors {
            set(&self.errors.get_or_create(&HsmError { function: function.clone(), code: code.clone() }), *count);
        }
        self.audit_writable.set(sample.audit_writable.into());
        self.store_writers.set(i64::try_from(sample.store_writers).unwrap_or(i64::MAX));
        self.clock_in_doubt.set(sample.clock_in_doubt.into());
        self.view_age.set(sample.view_age.as_secs_f64());
    }

    /// An HSM that is not used any more, as that of a custom key store, is neither up nor down.
    fn forget_all_but(&self, hsms: BTreeSet<Member>) {
        let mut shown = self.hsms.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.difference(&hsms) {
            self.up.remove(gone);
            self.restarts.remove(gone);
        }
        *shown = hsms;
    }
}

/// The owner counts; we show its count. It must not go back: two scrapes at once may hand in samples in any order.
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
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_hsm_that_is_not_used_any_more_is_not_shown() {
        let metrics = Metrics::new();
        let shown = |names: &[&str]| {
            let standing = names.iter().map(|name| HsmStanding { name: (*name).into(), up: true, restarts: 2 });
            let hsm = HsmSample { standing: standing.collect(), ..HsmSample::default() };
            let text = metrics.render(&Sample { hsm, ..Sample::default() });
            text.lines().filter(|line| line.contains("hsm=")).map(str::to_owned).collect::<Vec<_>>()
        };
        let one = ["strongroom_hsm_up{hsm=\"a\"} 1", "strongroom_hsm_restarts_total{hsm=\"a\"} 2"];
        assert_eq!(shown(&["a", "b"]).len(), 4);
        assert_eq!(shown(&["a"]), one);
        assert_eq!(shown(&["b", "a"]).len(), 4);
    }

    #[test]
    fn names_and_values() {
        let metrics = Metrics::new();
        metrics.observe_call("Encrypt", "Success", 0.0004);
        metrics.observe_call("Encrypt", "Success", 20.0);
        metrics.observe_call("Encrypt", "AccessDeniedException", 0.0001);
        metrics.observe_lost_connection("bare_lf");
        let errors = vec![HsmErrors { function: "C_Encrypt".into(), code: "CKR_DEVICE_ERROR".into(), count: 3 }];
        let standing = vec![HsmStanding { name: "a".into(), up: true, restarts: 2 }];
        let hsm = HsmSample { queue_depth: 1, sessions: 8, sessions_busy: 2, errors, standing, ..HsmSample::default() };
        let view_age = Duration::from_millis(250);
        let sample =
            Sample { hsm, audit_records: 7, audit_writable: true, store_writers: 3, view_age, clock_in_doubt: true };
        let text = metrics.render(&sample);
        let mut values: Vec<_> =
            text.lines().filter(|line| !line.starts_with("# ") && !line.contains("_bucket")).collect();
        values.sort_unstable();
        expect![[r#"
            strongroom_audit_records_total 7
            strongroom_audit_writable 1
            strongroom_call_seconds_count{operation="Encrypt"} 3
            strongroom_call_seconds_sum{operation="Encrypt"} 20.0005
            strongroom_calls_total{operation="Encrypt",outcome="AccessDeniedException"} 1
            strongroom_calls_total{operation="Encrypt",outcome="Success"} 2
            strongroom_clock_in_doubt 1
            strongroom_hsm_cached_handles 0
            strongroom_hsm_errors_total{function="C_Encrypt",code="CKR_DEVICE_ERROR"} 3
            strongroom_hsm_queue_depth 1
            strongroom_hsm_restarts_total{hsm="a"} 2
            strongroom_hsm_sessions 8
            strongroom_hsm_sessions_busy 2
            strongroom_hsm_threads_replaced_total 0
            strongroom_hsm_up{hsm="a"} 1
            strongroom_lost_connections_total{reason="bare_lf"} 1
            strongroom_store_writers 3
            strongroom_view_age_seconds 0.25"#]]
        .assert_eq(&values.join("\n"));
        assert!(text.contains(r#"strongroom_call_seconds_bucket{le="0.0005",operation="Encrypt"} 2"#), "{text}");
        assert!(text.contains(r#"strongroom_call_seconds_bucket{le="+Inf",operation="Encrypt"} 3"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_counter_does_not_go_back() {
        let metrics = Metrics::new();
        metrics.render(&Sample { audit_records: 7, ..Sample::default() });
        let text = metrics.render(&Sample { audit_records: 6, ..Sample::default() });
        assert!(text.contains("strongroom_audit_records_total 7\n"), "{text}");
    }
}
