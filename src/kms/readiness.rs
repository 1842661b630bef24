//! Whether the service can do its work: what `/readyz` and `/metrics` answer.

use std::{
    path::Path,
    sync::{Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    clock::{heartbeat::Jump, validity::Validity},
    hsm::{Command, Standing},
    kms::Kms,
    metrics::{HsmErrors, HsmSample, HsmStanding, Sample},
};

/// How long one known answer of the HSM proves it well.
const PROOF: Duration = Duration::from_secs(1);

/// How long a write proves that the store can be written, and how long one that failed proves that it cannot.
const PROOF_OF_WRITING: Duration = Duration::from_secs(5);
const PROOF_OF_FAILURE: Duration = Duration::from_millis(500);

/// The last proofs.
#[derive(Default)]
pub struct Readiness {
    hsm: Mutex<Option<Proof>>,
    store: Mutex<Option<Proof>>,
    certificate: StdMutex<Option<Certificate>>,
    /// Why the audit trail's file, which has lost its name, cannot be opened anew.
    lost_trail: StdMutex<Option<String>>,
}

/// The certificate that clients are shown.
#[derive(Clone)]
struct Certificate {
    file: String,
    validity: Validity,
}

struct Proof {
    at: Instant,
    result: Result<(), String>,
}

impl Readiness {
    /// Notes, and tells once, that the trail goes on in a file that has lost its name, or does so no more.
    pub(super) fn note_lost_trail(&self, trail: &str, why: Option<String>) {
        let mut lost = self.lost_trail.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*lost, &why) {
            (None, Some(why)) => tracing::error!(
                trail,
                why,
                "the audit trail's file was renamed or removed, and no other can be opened in its place"
            ),
            (Some(_), None) => tracing::info!(trail, "the audit trail's file is where it should be again"),
            _ => {}
        }
        *lost = why;
    }
}

impl Kms {
    /// Whether calls can work: the view is up to date, audit trail and store can be written, the certificate is valid, and the HSM
    /// gives known answers.
    ///
    /// # Errors
    /// What is wrong, in words for an operator.
    pub async fn ready(&self) -> Result<(), String> {
        let age = self.store.freshness();
        if age > self.settings.staleness {
            return Err(format!("the store has not been read for {} ms", age.as_millis()));
        }
        if let Some(trouble) = self.trail.trouble() {
            return Err(format!("the audit trail cannot be written: {trouble}"));
        }
        self.store_is_writable().await?;
        self.certificate_is_valid()?;
        self.hsm_answers().await
    }

    /// A client that looks at a certificate does not call a server whose own is not valid.
    fn certificate_is_valid(&self) -> Result<(), String> {
        let Some(Certificate { file, validity }) = self.certificate() else { return Ok(()) };
        let fault = validity.fault(self.clock.now());
        fault.map_or(Ok(()), |fault| Err(format!("the certificate in {file} {fault}")))
    }

    /// One write at a time; many probes do not become a load.
    async fn store_is_writable(&self) -> Result<(), String> {
        let mut last = self.readiness.store.lock().await;
        let lasts = |proof: &&Proof| {
            let lasts = if proof.result.is_ok() { PROOF_OF_WRITING } else { PROOF_OF_FAILURE };
            proof.at.elapsed() < lasts
        };
        if let Some(proof) = last.as_ref().filter(lasts) {
            return proof.result.clone();
        }
        let result = self.store.prove_writable().await.map_err(|error| format!("the store: {error}"));
        *last = Some(Proof { at: Instant::now(), result: result.clone() });
        result
    }

    /// What an operator should know of a service that does its work.
    pub fn warning(&self) -> Option<String> {
        let Jump { from, to } = self.pulse.jump()?;
        Some(format!(
            "the clock has jumped from {from} to {to}: nothing is deleted, expires or rotates until it is confirmed"
        ))
    }

    /// One known-answer operation at a time, each good for [`PROOF`]: many probes do not become a load.
    async fn hsm_answers(&self) -> Result<(), String> {
        let mut last = self.readiness.hsm.lock().await;
        if let Some(proof) = last.as_ref().filter(|proof| proof.at.elapsed() < PROOF) {
            return proof.result.clone();
        }
        if !self.vault.is_furnished() && self.hsm.standing().iter().any(|hsm| hsm.trouble.is_none()) {
            return Err("the deployment is about to be founded".to_owned());
        }
        let answer = self.hsm.call(Command::Check, Instant::now() + self.settings.deadline).await;
        let result = answer.map(|_| ()).map_err(|error| format!("the HSM: {error}"));
        *last = Some(Proof { at: Instant::now(), result: result.clone() });
        result
    }

    /// Notes the dates of the certificate that clients are shown, which is in this file.
    pub fn note_certificate(&self, file: &Path, validity: Validity) {
        let certificate = Certificate { file: file.display().to_string(), validity };
        *self.readiness.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    fn certificate(&self) -> Option<Certificate> {
        self.readiness.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a connection that came to nothing, for a reason that a door knows.
    pub fn observe_lost_connection(&self, reason: &'static str) {
        self.metrics.observe_lost_connection(reason);
    }

    /// The metrics, in the text format that Prometheus reads.
    pub fn metrics_text(&self) -> String {
        let standings = self.hsm.standing().into_iter().chain(self.connections.standing());
        let gauges = self.hsm.gauges();
        let errors = self.hsm.errors().into_iter();
        self.metrics.render(&Sample {
            hsm: HsmSample {
                queue_depth: gauges.queue_depth as u64,
                sessions: gauges.sessions as u64,
                sessions_busy: gauges.sessions_busy as u64,
                cached_handles: gauges.cached_handles as u64,
                threads_replaced: gauges.threads_replaced,
                standing: standings.map(standing).collect(),
                errors: errors.map(|e| HsmErrors { function: e.function, code: e.code, count: e.count }).collect(),
            },
            audit_records: self.trail.records(),
            audit_writable: self.trail.trouble().is_none(),
            store_writers: self.store.writers(),
            view_age: self.store.freshness(),
            clock_in_doubt: self.pulse.jump().is_some(),
        })
    }
}

fn standing(hsm: Standing) -> HsmStanding {
    HsmStanding { up: hsm.trouble.is_none(), name: hsm.name, restarts: hsm.restarts }
}
