//! Changes that the service makes of its own accord, and what is written down of them: deletion, expiry, rotation.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    audit::ServiceEvent,
    identity::Asker,
    key::{Key, tombstone::Tombstone},
    kms::Kms,
    store::{Actor, NewRecord},
};

/// An event about a key that no caller asked for: its deletion, its expiry, its rotation.
pub(super) struct ServiceChange {
    event_name: &'static str,
    region: String,
    arn: String,
    response: Value,
    details: Value,
}

impl ServiceChange {
    /// The end of a deletion.
    pub(super) fn deletion(tombstone: &Tombstone) -> Self {
        Self {
            event_name: "DeleteKey",
            region: tombstone.region.clone(),
            arn: tombstone.arn.clone(),
            response: json!({"keyId": tombstone.arn}),
            details: Value::Null,
        }
    }
}

/// The actor of a change that the service is about to make of its own accord.
pub(super) struct OwnChange<'a> {
    kms: &'a Kms,
    event_id: Uuid,
    event: ServiceChange,
}

impl Actor for OwnChange<'_> {
    fn asker(&self) -> Asker {
        Asker::SERVICE
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        let ServiceChange { event_name, region, arn, response, details } = &self.event;
        let event_id = self.event_id;
        let time = self.kms.now();
        let account = self.kms.settings.account.as_str();
        let event = ServiceEvent { event_id, time, event_name, region, key: arn, account, response, details };
        Ok(Some(self.kms.new_record(event_id, event.line()?)))
    }
}

impl Kms {
    /// A change that the service is about to make of its own accord.
    pub(super) fn own_change(&self, event: ServiceChange) -> OwnChange<'_> {
        OwnChange { kms: self, event_id: Uuid::new_v4(), event }
    }

    pub(super) fn change_of_key(&self, key: &Key, event_name: &'static str, details: Value) -> ServiceChange {
        let region = key.region().to_owned();
        let arn = key.arn(&self.realm(key.region()));
        ServiceChange { event_name, region, arn, response: Value::Null, details }
    }
}
