//! Audit records of an operator's verbs.

use serde_json::Value;
use uuid::Uuid;

use super::Admin;
use crate::{
    audit::{OperatorEvent, TrailAddress},
    clock::Running,
    error::KmsError,
    failure,
    identity::{Asker, OsUser},
    store::{Actor, NewRecord},
};

/// The operator, and the audit trail for their records.
pub struct Operator {
    /// The user who runs the verb.
    pub os_user: OsUser,
    /// The audit trail of the service, which brings the records there.
    pub trail: TrailAddress,
}

/// A change that an operator is about to make, with its audit record.
pub struct OperatorChange<'a> {
    admin: &'a Admin,
    event_id: Uuid,
    event_name: &'static str,
    parameters: Value,
    error: Option<&'a str>,
    made: Running,
}

impl Admin {
    /// A change of the operator's, which the store makes together with its record.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn change(&self, event_name: &'static str, parameters: Value) -> Result<OperatorChange<'_>, KmsError> {
        let made = self.heartbeat().await?.map_or_else(Running::default, |last| last.running);
        Ok(OperatorChange { admin: self, event_id: Uuid::new_v4(), event_name, parameters, error: None, made })
    }

    /// Records a verb that changes an HSM and not the store: before it is carried out, and once more with the error if it fails.
    ///
    /// # Errors
    /// As the store answers; the verb must not be carried out then.
    pub async fn record(
        &self,
        event_name: &'static str,
        parameters: Value,
        failed: Option<&str>,
    ) -> Result<(), KmsError> {
        let change = OperatorChange { error: failed, ..self.change(event_name, parameters).await? };
        self.store.write_down(&change).await.map_err(failure::store)
    }
}

impl Actor for OperatorChange<'_> {
    fn asker(&self) -> Asker {
        Asker::SERVICE
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        let Self { admin, event_id, event_name, made, .. } = *self;
        let event = OperatorEvent {
            event_id,
            time: admin.now,
            event_name,
            os_user: &admin.operator.os_user,
            account: admin.account.as_str(),
            parameters: &self.parameters,
            error: self.error,
        };
        let trail = &admin.operator.trail;
        let line = event.line()?;
        let position = trail.position();
        Ok(Some(NewRecord { event_id, trail: trail.name(), position, made, line }))
    }
}
