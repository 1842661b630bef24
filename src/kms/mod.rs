//! The service: one call from received bytes to an answer, whatever door it came through.
//!
//! [`Kms::perform`] is the only road, and it is the same for every operation: its name → signature → freshness of the view
//! → its request, read from the body → the operation → audit record → answer. An operation adds no authentication, no audit and no
//! metrics, and cannot leave them out. The record of a change is stored with the change, and comes to the trail from there.

mod act;
pub mod admin;
mod connections;
pub mod cx;
mod delivery;
mod granting;
pub mod importing;
mod key_stores;
mod keys;
mod log;
mod measures;
pub mod multi_region;
mod padding;
mod payload;
mod pulse;
mod readiness;
mod recipient;
mod record;
pub mod rotation;
pub mod sealing;
pub mod seed;
pub mod signing;
mod upkeep;
mod uses;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::request::Parts;
use uuid::Uuid;

use crate::{
    access::Caller,
    arn::{AccountId, Realm, is_region},
    attestation::Roots,
    audit::Trail,
    authn::{Authn, Vault},
    clock::{Clock, Timestamp},
    error::{Code, KmsError},
    failure,
    hsm::{Clusters, Hsm},
    identity::Identity,
    invocations::Invocations,
    metrics::Metrics,
    operations::Body,
    sigv4::{self, Claim, Received},
    store::{NewRecord, Store},
};
use connections::Connections;
use cx::Cx;
use delivery::Delivery;
use log::Log;
use padding::PaddingFailures;
use pulse::Pulse;
use readiness::Readiness;
use record::Record;
use rotation::Worn;
use uses::Uses;

pub use key_stores::KeyStoreUpdate;
pub use payload::Payload;

/// Where the material of new keys is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStoreKind {
    /// In the database, wrapped under the wrapping key.
    Wrapped,
    /// On the HSM, as an object of its own.
    Token,
}

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The partition of every ARN.
    pub partition: String,
    /// The account that owns the keys.
    pub account: AccountId,
    /// The regions, each a key space of its own; `None` means any that a caller names as regions are named.
    pub regions: Option<Vec<String>>,
    /// How long an HSM command may take, from the arrival of the request.
    pub deadline: Duration,
    /// How long the generation of a key may take.
    pub generation_deadline: Duration,
    /// How old the view may be before the service says that it does not know.
    pub staleness: Duration,
    /// Where the material of new keys is kept.
    pub keeping: KeyStoreKind,
    /// Who may vouch for the recipients of plaintexts.
    pub attestation_roots: Arc<Roots>,
}

/// The machines that the service runs on.
pub struct Machines {
    /// What is known.
    pub store: Store,
    /// What holds the keys.
    pub hsm: Hsm,
    /// What holds the keys of custom key stores.
    pub clusters: Clusters,
    /// What remembers the calls.
    pub trail: Trail,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The key management service.
pub struct Kms {
    settings: Settings,
    store: Store,
    hsm: Hsm,
    connections: Connections,
    trail: Arc<Trail>,
    delivery: Delivery,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    authn: Authn,
    vault: Vault,
    invocations: Invocations,
    worn: Worn,
    padding_failures: PaddingFailures,
    pulse: Pulse,
    readiness: Readiness,
    uses: Uses,
    log: Log,
}

/// One call, as a door received it.
pub struct Call {
    /// Method, target, version and headers.
    pub head: Parts,
    /// The body, which may hold a plaintext; or why the door could not take it.
    pub body: Result<Payload, KmsError>,
    /// Where it came from.
    pub source_ip: String,
}

/// One answer.
pub struct Reply {
    /// What the call is known by, here and in the logs.
    pub request_id: Uuid,
    /// Whether the signature proved who calls.
    pub proved: bool,
    /// The answer's body, or why there is none.
    pub outcome: Result<Body, KmsError>,
}

impl Kms {
    /// The service over its machines; `vault` opens the secrets of access keys.
    pub fn new(settings: Settings, machines: Machines, vault: Vault) -> Self {
        let Machines { store, hsm, clusters, trail, clock } = machines;
        Self {
            settings,
            authn: Authn::new(store.clone(), vault.clone()),
            vault,
            invocations: Invocations::new(store.clone()),
            worn: Worn::default(),
            padding_failures: PaddingFailures::default(),
            pulse: Pulse::default(),
            readiness: Readiness::new(clock.now()),
            uses: Uses::default(),
            log: Log::default(),
            metrics: Metrics::new(),
            connections: Connections::new(clusters),
            store,
            hsm,
            trail: Arc::new(trail),
            delivery: Delivery::default(),
            clock,
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does what `call` asks for, if the caller may, and writes it down. Nothing is begun while nothing can be written down.
    pub async fn perform(&self, call: Call) -> Reply {
        let began = Instant::now();
        let Call { head, body, source_ip } = call;
        let mut record = Record::new(self.now(), &head, source_ip);
        let outcome = match (self.trail.trouble(), body) {
            (Some(trouble), _) => {
                let error = failure::not_writable(trouble);
                self.log.tell(&record, &error);
                Err(error)
            }
            (None, Ok(body)) => {
                let outcome = self.attempt(&head, body, began, &mut record).await;
                self.write_down(&record, outcome.map_err(|error| record.answer(error))).await
            }
            (None, Err(error)) => {
                // Whoever says who they are is named in the record, as with any call that proves nothing.
                let _ = self.claim(&head, &[], &mut record);
                self.write_down(&record, Err(record.answer(error))).await
            }
        };
        // What has failed since, such as the trail.
        let outcome = outcome.map_err(|error| record.answer(error));
        if outcome.is_ok() {
            self.uses.note(&record);
        }
        let result = outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "Success");
        self.metrics.observe_call(record.operation_name(), result, began.elapsed().as_secs_f64());
        Reply { request_id: record.request_id, proved: record.identity.is_some(), outcome }
    }

    /// What the head of a call says against it, whatever its body: a door asks before it takes in a long one.
    ///
    /// # Errors
    /// What such a call is answered, if it names no operation, has no valid authentication, or no access key that is enabled.
    pub fn vouch(&self, head: &Parts) -> Result<(), KmsError> {
        let mut record = Record::new(self.now(), head, String::new());
        record.operation.ok_or_else(|| KmsError::bare(Code::UnknownOperationException))?;
        let claim = self.claim(head, &[], &mut record)?;
        self.authn.access_key(&claim).map(drop)
    }

    /// Nothing is read of a body before it is known who sent it, and nothing is kept of it while the operation runs.
    async fn attempt(
        &self,
        head: &Parts,
        body: Payload,
        began: Instant,
        record: &mut Record<'_>,
    ) -> Result<Body, KmsError> {
        let entry = record.operation.ok_or_else(|| KmsError::bare(Code::UnknownOperationException))?;
        let (identity, caller) = self.identify(head, &body, began, record).await?;
        if self.store.freshness() > self.settings.staleness {
            let text = "The service cannot tell whether what it knows is up to date.";
            return Err(KmsError::new(Code::ServiceUnavailableException, text));
        }
        let asked = entry.read(&body, &mut record.parameters)?;
        drop(body);
        let cx = Cx::new(self, record, &identity, caller, began + self.settings.deadline);
        let outcome = asked(&cx).await.and_then(|answer| cx.confirm_uses().map(|()| answer));
        record.notes = cx.into_notes();
        outcome
    }

    /// Who calls, proved by the signature, and in which realm.
    async fn identify(
        &self,
        head: &Parts,
        body: &Body,
        began: Instant,
        record: &mut Record<'_>,
    ) -> Result<(Identity, (Caller, Realm)), KmsError> {
        let claim = self.claim(head, body, record)?;
        let (identity, policies) = self.authn.identify(&claim, began + self.settings.deadline).await?;
        let caller = Caller { principal: identity.principal.clone(), policies };
        record.identity = Some(identity.clone());
        let (partition, account) = (self.settings.partition.clone(), self.settings.account.clone());
        Ok((identity, (caller, Realm { partition, account, region: claim.region })))
    }

    /// Who the call says that it is of.
    fn claim(&self, head: &Parts, body: &[u8], record: &mut Record<'_>) -> Result<Claim, KmsError> {
        let headers: Vec<(&str, &[u8])> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let received = Received {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &headers,
            body,
        };
        let claim = sigv4::claim(&received, record.time, |region| self.serves(region))?;
        record.claim(&claim);
        Ok(claim)
    }

    fn serves(&self, region: &str) -> bool {
        match &self.settings.regions {
            Some(regions) => regions.iter().any(|known| known == region),
            None => is_region(region),
        }
    }

    /// No record, no answer. A record that is stored is there, even if it cannot be brought to the trail now.
    async fn write_down(&self, record: &Record<'_>, outcome: Result<Body, KmsError>) -> Result<Body, KmsError> {
        if let Err(error) = &outcome {
            self.log.tell(record, error);
        }
        if record.notes.is_recorded {
            if let Err(error) = self.deliver_records().await {
                self.log.tell(record, &error);
            }
            return outcome;
        }
        let written = record.write(&self.trail, &self.settings.account, outcome.as_ref().err()).await;
        let failed = |error| {
            let error = failure::audit(error);
            self.log.tell(record, &error);
            error
        };
        written.map_err(failed)?;
        outcome
    }

    /// The audit record of a change, for the store.
    fn new_record(&self, event_id: Uuid, line: String) -> NewRecord {
        let made = self.pulse.running(self.clock.uptime());
        NewRecord { event_id, trail: self.trail.name(), position: self.trail.position(), made, line }
    }
}
