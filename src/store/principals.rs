//! Principals and their identity policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AccessKey, Actor, ChangeError, Store, StoreError, WriteOutcome, document::StoredDocument, driver::Write};
use crate::{clock::Timestamp, principal::Principal};

/// A principal that this deployment knows, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalRecord {
    /// The principal.
    pub principal: Principal,
    /// Its identity policies: text by name.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

impl StoredDocument for PrincipalRecord {
    const KIND: &'static str = "principal";

    fn id(&self) -> String {
        self.principal.arn().to_owned()
    }
}

/// Why a policy was not taken from a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchPolicy;

/// Why a principal was not deleted: these access keys are still its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HasAccessKeys(pub Vec<String>);

impl Store {
    /// Adds a principal; `false` if there is one of that ARN.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn insert_principal(&self, actor: &impl Actor, record: &PrincipalRecord) -> Result<bool, StoreError> {
        self.insert("store the principal", actor, record).await
    }

    /// Gives a principal an identity policy, in the place of the one of that name, whose text it answers: `Some(None)` if there
    /// was none, and `None` if there is no such principal. The text must have been compiled before: one that does not
    /// compile denies the principal everything.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn attach_policy(
        &self,
        actor: &impl Actor,
        arn: &str,
        name: &str,
        text: &str,
    ) -> Result<Option<Option<String>>, StoreError> {
        let mut before = None;
        let attach = |record: &mut PrincipalRecord| {
            before = record.policies.insert(name.to_owned(), text.to_owned());
        };
        let attached = self.change_if_there("attach the policy", actor, arn, attach).await?;
        Ok(attached.then_some(before))
    }

    /// Takes an identity policy from a principal.
    ///
    /// # Errors
    /// If there is no such principal, or it has no such policy, or the store fails.
    pub async fn detach_policy(
        &self,
        actor: &impl Actor,
        arn: &str,
        name: &str,
    ) -> Result<(), ChangeError<NoSuchPolicy>> {
        let detach = |record: &mut PrincipalRecord| record.policies.remove(name).map(drop).ok_or(NoSuchPolicy);
        self.change("detach the policy", actor, arn, detach).await.map(drop)
    }

    /// Deletes a principal with its identity policies.
    ///
    /// # Errors
    /// If there is no such principal, or it still has access keys, or the store fails.
    pub async fn delete_principal(&self, actor: &impl Actor, arn: &str) -> Result<(), ChangeError<HasAccessKeys>> {
        let mut write = self.begin("delete the principal", actor).await?;
        let outcome = write.delete_principal(arn).await;
        self.end(write, actor, outcome).await
    }

    /// A change that cannot be refused; `false` if there is no such document.
    pub(super) async fn change_if_there<D: StoredDocument + Clone + PartialEq>(
        &self,
        what: &'static str,
        actor: &impl Actor,
        id: &str,
        change: impl FnOnce(&mut D),
    ) -> Result<bool, StoreError> {
        let change = |document: &mut D| {
            change(document);
            Ok::<(), std::convert::Infallible>(())
        };
        match self.change(what, actor, id, change).await {
            Ok(_) => Ok(true),
            Err(ChangeError::NotFound) => Ok(false),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }
}

impl Write {
    async fn delete_principal(&mut self, arn: &str) -> Result<WriteOutcome<()>, ChangeError<HasAccessKeys>> {
        let access_keys = self.children(AccessKey::KIND, arn).await?;
        if !access_keys.is_empty() {
            return Err(ChangeError::Refused(HasAccessKeys(access_keys)));
        }
        match self.delete(PrincipalRecord::KIND, arn).await? {
            true => Ok(WriteOutcome::Changed(())),
            false => Err(ChangeError::NotFound),
        }
    }
}
