//! Principals and their identity policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ChangeError, Store, StoreError, Unrecorded, document::Document};
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

impl Document for PrincipalRecord {
    const KIND: &'static str = "principal";

    fn id(&self) -> String {
        self.principal.arn().to_owned()
    }
}

impl Store {
    /// Adds a principal; `false` if there is one of that ARN.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn insert_principal(&self, record: &PrincipalRecord) -> Result<bool, StoreError> {
        self.insert("store the principal", record).await
    }

    /// Gives a principal an identity policy, in the place of the one of that name; `false` if there is no such
    /// principal. The text must have been compiled before: one that does not compile denies the principal everything.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn attach_policy(&self, arn: &str, name: &str, text: &str) -> Result<bool, StoreError> {
        let attach = |record: &mut PrincipalRecord| {
            record.policies.insert(name.to_owned(), text.to_owned());
        };
        self.change_if_there("attach the policy", arn, attach).await
    }

    /// A change that cannot be refused; `false` if there is no such document.
    pub(super) async fn change_if_there<D: Document + Clone + PartialEq>(
        &self,
        what: &'static str,
        id: &str,
        change: impl FnOnce(&mut D),
    ) -> Result<bool, StoreError> {
        let change = |document: &mut D| {
            change(document);
            Ok::<(), std::convert::Infallible>(())
        };
        match self.change(what, &Unrecorded, id, change).await {
            Ok(_) => Ok(true),
            Err(ChangeError::NotFound) => Ok(false),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }
}
