//! The key management service: verbs on keys, aliases, grants and key stores, which know no operation and no protocol.
//!
//! [`Kms`] owns the machines. What a request does with them it does through its [`Cx`](cx::Cx), which only the `call` layer makes:
//! every verb of it takes a proof of permission, and what it changes is stored with its audit record.

pub mod admin;
mod aliases;
mod audit_delivery;
mod call_change;
pub mod cx;
mod deletion;
pub mod encryption;
mod expiry;
mod granting;
pub mod importing;
mod intents;
mod key_store_connections;
mod key_stores;
mod keys;
mod last_usage;
mod metrics;
pub mod multi_region;
mod padding_oracle;
mod readiness;
mod recipient;
pub mod record;
pub mod rotation;
mod running_time;
pub mod seed;
mod service_change;
pub mod signing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    arn::{AccountId, Realm, is_region},
    attestation::Roots,
    audit::Trail,
    authn::{Authn, Vault},
    clock::{Clock, Timestamp},
    error::{Code, KmsError},
    failure,
    hsm::{Clusters, Hsm},
    invocations::Invocations,
    metrics::Metrics,
    store::{NewRecord, Store},
};
use audit_delivery::Delivery;
use key_store_connections::KeyStoreConnections;
use last_usage::LastUses;
use padding_oracle::PaddingOracleGuard;
use readiness::Readiness;
use record::Record;
use rotation::Worn;
use running_time::RunningTime;

pub use key_stores::KeyStoreUpdate;

/// Where the material of new keys is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStoreKind {
    /// In the database, wrapped under the wrapping key.
    Wrapped,
    /// On the HSM, as an object of its own.
    Token,
}

/// The settings of the service.
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
    /// The age of the view from which calls are refused.
    pub staleness: Duration,
    /// Where the material of new keys is kept.
    pub keeping: KeyStoreKind,
    /// The trusted roots of attestation documents, by which recipients of plaintexts are attested.
    pub attestation_roots: Arc<Roots>,
}

/// The machines that the service runs on.
pub struct Machines {
    /// The store.
    pub store: Store,
    /// The service's own HSMs.
    pub hsm: Hsm,
    /// The HSMs of custom key stores.
    pub clusters: Clusters,
    /// The audit trail.
    pub trail: Trail,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The key management service.
pub struct Kms {
    settings: Settings,
    store: Store,
    hsm: Hsm,
    connections: KeyStoreConnections,
    trail: Arc<Trail>,
    delivery: Delivery,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    authn: Authn,
    vault: Vault,
    invocations: Invocations,
    worn: Worn,
    padding_oracle_guard: PaddingOracleGuard,
    running_time: RunningTime,
    readiness: Readiness,
    last_uses: LastUses,
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
            padding_oracle_guard: PaddingOracleGuard::default(),
            running_time: RunningTime::default(),
            readiness: Readiness::new(clock.now()),
            last_uses: LastUses::default(),
            metrics: Metrics::new(),
            connections: KeyStoreConnections::new(clusters),
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

    /// Finds out who calls.
    pub fn authn(&self) -> &Authn {
        &self.authn
    }

    /// True if requests may be for this region.
    pub fn serves(&self, region: &str) -> bool {
        match &self.settings.regions {
            Some(regions) => regions.iter().any(|known| known == region),
            None => is_region(region),
        }
    }

    /// By when the HSM must have answered a call that came then.
    pub fn deadline(&self, came: Instant) -> Instant {
        came + self.settings.deadline
    }

    /// Founds the deployment, unless it is founded.
    ///
    /// # Errors
    /// If the store is another account's; else as HSM and store answer.
    pub async fn found(&self) -> Result<(), KmsError> {
        if self.vault.has_material() {
            return Ok(());
        }
        admin::found(&self.store, &self.hsm, &self.vault, &self.settings.account, self.now()).await
    }

    pub(super) fn realm(&self, region: &str) -> Realm {
        let Settings { partition, account, .. } = &self.settings;
        Realm { partition: partition.clone(), account: account.clone(), region: region.to_owned() }
    }

    /// Brings the view up to date; answers how many changes there were.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn follow_store(&self) -> Result<usize, KmsError> {
        self.store.follow().await.map_err(failure::store)
    }

    /// Refuses to decide by a view that may be out of date.
    ///
    /// # Errors
    /// `ServiceUnavailableException`.
    pub fn check_freshness(&self) -> Result<(), KmsError> {
        if self.store.freshness() <= self.settings.staleness {
            return Ok(());
        }
        let text = "The service cannot tell whether what it knows is up to date.";
        Err(KmsError::new(Code::ServiceUnavailableException, text))
    }

    /// Why the audit trail cannot be written, if it cannot.
    pub fn trouble_of_trail(&self) -> Option<String> {
        self.trail.trouble()
    }

    /// Writes the audit record of a call that ended so. Where the record was stored with a change, it is brought to the trail.
    ///
    /// # Errors
    /// As store and trail answer.
    pub async fn write_down(&self, record: &Record, error: Option<&KmsError>) -> Result<(), KmsError> {
        if record.notes.is_recorded {
            // Boxed, for else every call would carry the state of what only a change does.
            return Box::pin(self.deliver_records()).await.map(drop);
        }
        record.write(&self.trail, &self.settings.account, error).await.map_err(failure::audit)
    }

    /// Notes the uses of keys by a call that has succeeded.
    pub fn note_uses(&self, record: &Record) {
        self.last_uses.note(record);
    }

    /// The audit record of a change, for the store.
    fn new_record(&self, event_id: Uuid, line: String) -> NewRecord {
        let made = self.running_time.running(self.clock.uptime());
        NewRecord { event_id, trail: self.trail.name(), position: self.trail.position(), made, line }
    }
}
