//! The operator's verbs: they found the deployment, and make and delete principals and access keys.
//!
//! The command line changes the store directly, also while the service runs, which follows the change feed. Each change has an audit
//! record, stored with it, which the service brings to the audit trail.

mod access_keys;
mod operator_change;
mod principals;

use std::time::{Duration, Instant};

use uuid::Uuid;

pub use self::{
    access_keys::{AccessKeySummary, Credentials},
    operator_change::{Operator, OperatorChange},
    principals::{PolicyText, PrincipalSummary},
};
use crate::{
    arn::AccountId,
    authn::Vault,
    clock::{
        Timestamp,
        heartbeat::{Heartbeat, Jump},
    },
    error::KmsError,
    failure,
    hsm::{
        Hsm,
        command::{Generate, Place},
    },
    key::{
        spec::{KeySpec, KeyUsage},
        tombstone::Tombstone,
    },
    kms::keys::random_material_id,
    principal::Principal,
    store::{Deployment, Store},
};

/// An identity policy that allows all of KMS.
pub const ADMINISTRATOR_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;

const DEADLINE: Duration = Duration::from_secs(30);

/// The operator's verbs.
pub struct Admin {
    store: Store,
    account: AccountId,
    partition: String,
    operator: Operator,
    now: Timestamp,
}

/// Gives `vault` the service's own materials, if `store` has a deployment. Answers true if it has.
///
/// # Errors
/// If the store is of another account; else as the store answers.
pub async fn furnish(store: &Store, vault: &Vault, account: &AccountId) -> Result<bool, KmsError> {
    let Some(deployment) = store.deployment().await.map_err(failure::store)? else { return Ok(false) };
    if deployment.account != *account {
        let text = format!("the store belongs to account {}, not {account}", deployment.account);
        return Err(KmsError::invalid(text));
    }
    vault.furnish(store.clone(), &deployment);
    Ok(true)
}

/// Founds the deployment in `store` if there is none, and gives `vault` the service's own materials.
///
/// # Errors
/// As [`furnish`], and as the HSM answers.
pub async fn found(
    store: &Store,
    hsm: &Hsm,
    vault: &Vault,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), KmsError> {
    if furnish(store, vault, account).await? {
        return Ok(());
    }
    let spec = KeySpec::SymmetricDefault;
    let usage = KeyUsage::EncryptDecrypt;
    let command = Generate { id: random_material_id()?, spec, usage, place: Place::Wrapped };
    let service_material = hsm.call(command, Instant::now() + DEADLINE).await.map_err(failure::hsm)?;
    let id = Uuid::new_v4();
    let deployment =
        Deployment { id, account: account.clone(), created: now, service_material, successors: Vec::new() };
    store.insert_deployment(&deployment).await.map_err(failure::store)?;
    vault.furnish(store.clone(), &deployment);
    Ok(())
}

impl Admin {
    /// The verbs of `operator` on `store`.
    pub fn new(store: Store, account: AccountId, partition: String, operator: Operator, now: Timestamp) -> Self {
        Self { store, account, partition, operator, now }
    }

    /// The user called `name`, which may be an ARN of this account or a plain name.
    ///
    /// # Errors
    /// `ValidationException` if it is neither.
    pub fn principal(&self, name: &str) -> Result<Principal, KmsError> {
        let arn = match name.starts_with("arn:") {
            true => name.to_owned(),
            false => format!("arn:{}:iam::{}:user/{name}", self.partition, self.account),
        };
        let principal = Principal::try_from(arn).map_err(KmsError::invalid)?;
        match principal.account() == &self.account {
            true => Ok(principal),
            false => Err(KmsError::invalid(format!("{principal} is not of account {}", self.account))),
        }
    }

    /// The tombstones of deleted keys, by region and key id.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, KmsError> {
        let mut all: Vec<Tombstone> = Vec::new();
        loop {
            let more = self.store.tombstones(all.last()).await.map_err(failure::store)?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// The last heartbeat of the service; `None` before its first.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn heartbeat(&self) -> Result<Option<Heartbeat>, KmsError> {
        self.store.heartbeat().await.map_err(failure::store)
    }

    /// Says that the date is right, so that what is due may be done again; answers the jump that made it doubtful, if any.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn confirm_clock(&self) -> Result<Option<Jump>, KmsError> {
        let change = self.change("ConfirmClock", serde_json::Value::Null).await?;
        self.store.confirm_clock(&change).await.map_err(failure::store)
    }
}
