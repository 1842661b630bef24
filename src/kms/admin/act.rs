//! What is written down of what an operator does.

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

/// Whoever gives orders, and where these are written down.
pub struct Operator {
    /// Who it is.
    pub os_user: OsUser,
    /// The audit trail of the service, which brings the records there.
    pub trail: TrailAddress,
}

/// Something that an operator is about to do, and what is written down of it.
pub struct Act<'a> {
    admin: &'a Admin,
    event_id: Uuid,
    event_name: &'static str,
    parameters: Value,
    error: Option<&'a str>,
    made: Running,
}

impl Admin {
    /// An act of the operator, for the change that it is about.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn act(&self, event_name: &'static str, parameters: Value) -> Result<Act<'_>, KmsError> {
        let made = self.heartbeat().await?.map_or_else(Running::default, |last| last.running);
        Ok(Act { admin: self, event_id: Uuid::new_v4(), event_name, parameters, error: None, made })
    }

    /// Writes down what the operator is about to have done elsewhere than in the store, and afterwards, with why, that it failed.
    ///
    /// # Errors
    /// As the store answers; it must not be done then.
    pub async fn order(
        &self,
        event_name: &'static str,
        parameters: Value,
        failed: Option<&str>,
    ) -> Result<(), KmsError> {
        let act = Act { error: failed, ..self.act(event_name, parameters).await? };
        self.store.write_down(&act).await.map_err(failure::store)
    }
}

impl Actor for Act<'_> {
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
        let (line, position) = (event.line()?, trail.position());
        Ok(Some(NewRecord { event_id, trail: trail.name(), position, made, line }))
    }
}
