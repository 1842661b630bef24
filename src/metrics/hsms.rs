//! Metrics of each HSM.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{set, show};

/// The state of one HSM.
#[derive(Debug, Clone, Default)]
pub struct HsmSample {
    /// Its name in the configuration.
    pub name: String,
    /// True if calls go to it.
    pub up: bool,
    /// True if it has refused the PIN and waits for another.
    pub pin_refused: bool,
    /// How often it was opened again.
    pub restarts: u64,
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
}

/// The number of times that a function of the HSMs returned an error code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmErrors {
    /// `C_Encrypt`.
    pub function: String,
    /// `CKR_DEVICE_ERROR`.
    pub code: String,
    /// How often, since the start.
    pub count: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct OfHsm {
    hsm: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCode {
    function: String,
    code: String,
}

/// The metrics of HSMs.
#[derive(Default)]
pub(super) struct Hsms {
    /// The HSMs that are shown.
    shown: Mutex<BTreeSet<OfHsm>>,
    up: Family<OfHsm, Gauge>,
    pin_refused: Family<OfHsm, Gauge>,
    queue_depth: Family<OfHsm, Gauge>,
    sessions: Family<OfHsm, Gauge>,
    sessions_busy: Family<OfHsm, Gauge>,
    cached_handles: Family<OfHsm, Gauge>,
    restarts: Family<OfHsm, Counter>,
    threads_replaced: Family<OfHsm, Counter>,
    errors: Family<OfCode, Counter>,
}

impl Hsms {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let hsms = Self::default();
        for (name, help, gauge) in [
            ("hsm_up", "Whether calls go to the HSM", &hsms.up),
            ("hsm_pin_refused", "Whether the HSM has refused the PIN, and waits for another", &hsms.pin_refused),
            ("hsm_queue_depth", "Commands that wait for a session", &hsms.queue_depth),
            ("hsm_sessions", "Sessions that are open", &hsms.sessions),
            ("hsm_sessions_busy", "Sessions that are inside a call", &hsms.sessions_busy),
            ("hsm_cached_handles", "Handles of materials in the cache", &hsms.cached_handles),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register("hsm_restarts", "How often the HSM was opened again", hsms.restarts.clone());
        let help = "Threads given up because their call did not return";
        registry.register("hsm_threads_replaced", help, hsms.threads_replaced.clone());
        registry.register("hsm_errors", "Calls of the HSM that failed", hsms.errors.clone());
        hsms
    }

    pub(super) fn take(&self, samples: &[HsmSample], errors: &[HsmErrors]) {
        self.forget_all_but(samples.iter().map(|hsm| OfHsm { hsm: hsm.name.clone() }).collect());
        for hsm in samples {
            self.show(hsm);
        }
        for HsmErrors { function, code, count } in errors {
            set(&self.errors.get_or_create(&OfCode { function: function.clone(), code: code.clone() }), *count);
        }
    }

    fn show(&self, hsm: &HsmSample) {
        let labels = OfHsm { hsm: hsm.name.clone() };
        let values = [
            hsm.up.into(),
            hsm.pin_refused.into(),
            hsm.queue_depth,
            hsm.sessions,
            hsm.sessions_busy,
            hsm.cached_handles,
        ];
        for (gauge, value) in self.gauges().into_iter().zip(values) {
            show(&gauge.get_or_create(&labels), value);
        }
        set(&self.restarts.get_or_create(&labels), hsm.restarts);
        set(&self.threads_replaced.get_or_create(&labels), hsm.threads_replaced);
    }

    fn gauges(&self) -> [&Family<OfHsm, Gauge>; 6] {
        let Self { up, pin_refused, queue_depth, sessions, sessions_busy, cached_handles, .. } = self;
        [up, pin_refused, queue_depth, sessions, sessions_busy, cached_handles]
    }

    /// An HSM that is not used any more, as that of a custom key store, is neither up nor down.
    fn forget_all_but(&self, hsms: BTreeSet<OfHsm>) {
        let mut shown = self.shown.lock();
        for gone in shown.difference(&hsms) {
            for gauge in self.gauges() {
                gauge.remove(gone);
            }
            self.restarts.remove(gone);
            self.threads_replaced.remove(gone);
        }
        *shown = hsms;
    }
}
