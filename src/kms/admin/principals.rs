//! Principals and their identity policies.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::Admin;
use crate::{
    clock::Timestamp,
    error::{Code, KmsError},
    failure,
    policy::Document,
    principal::{Principal, is_policy_name},
    store::{ChangeError, HasAccessKeys, NoSuchPolicy, PrincipalEntry, PrincipalRecord},
};

/// A principal, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrincipalSummary {
    /// The principal.
    pub principal: Principal,
    /// When it was made.
    #[serde(serialize_with = "super::access_keys::as_date")]
    pub created: Timestamp,
    /// The names of its identity policies.
    pub policies: Vec<String>,
    /// The ids of its access keys.
    pub access_keys: Vec<String>,
}

/// An identity policy, as it was attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyText {
    /// Its name.
    pub name: String,
    /// The document (JSON).
    pub document: String,
}

impl Admin {
    /// Makes a principal, with the identity policies given: text by name.
    ///
    /// # Errors
    /// `AlreadyExistsException`, `MalformedPolicyDocumentException`; `ValidationException` for a name that IAM would refuse; else
    /// as the store answers.
    pub async fn create_principal(
        &self,
        name: &str,
        policies: BTreeMap<String, String>,
    ) -> Result<Principal, KmsError> {
        let principal = self.principal(name)?;
        self.new_principal(&principal, &policies)?;
        if let Some(taken) = self.namesake(&principal) {
            return Err(KmsError::new(Code::AlreadyExistsException, format!("{taken} already exists")));
        }
        let change = self.change("CreatePrincipal", json!({"principal": principal, "policies": policies})).await?;
        let record = PrincipalRecord { principal: principal.clone(), policies, created: self.now };
        match self.store.insert_principal(&change, &record).await.map_err(failure::store)? {
            true => Ok(principal),
            false => Err(KmsError::new(Code::AlreadyExistsException, format!("{principal} already exists"))),
        }
    }

    /// Checks that there can be such a principal with such policies.
    pub(in crate::kms) fn new_principal(
        &self,
        principal: &Principal,
        policies: &BTreeMap<String, String>,
    ) -> Result<(), KmsError> {
        principal.check_names().map_err(KmsError::invalid)?;
        policies.iter().try_for_each(|(name, text)| check_policy(name, text))
    }

    /// A principal that has that name already: names of users, and of roles, must differ in more than path and case.
    fn namesake(&self, principal: &Principal) -> Option<Principal> {
        let principals = self.store.view().principals();
        let mut others = principals.iter().map(|entry| &entry.record.principal);
        others.find(|other| other.is_namesake_of(principal)).cloned()
    }

    /// True if there is this principal.
    pub fn has_principal(&self, principal: &Principal) -> bool {
        self.store.view().principal(principal.arn()).is_some()
    }

    /// Gives a principal an identity policy, in place of the one of that name, whose text it answers if there was one.
    ///
    /// # Errors
    /// `NotFoundException`, `MalformedPolicyDocumentException`; `ValidationException` for a name that IAM would refuse; else as
    /// the store answers.
    pub async fn attach_policy(&self, name: &str, policy_name: &str, text: &str) -> Result<Option<String>, KmsError> {
        let principal = self.principal(name)?;
        check_policy(policy_name, text)?;
        let parameters = json!({"principal": principal, "policyName": policy_name, "policyDocument": text});
        let change = self.change("AttachPolicy", parameters).await?;
        let attached = self.store.attach_policy(&change, principal.arn(), policy_name, text).await;
        attached.map_err(failure::store)?.ok_or_else(|| no_such_principal(&principal))
    }

    /// Takes an identity policy from a principal.
    ///
    /// # Errors
    /// `NotFoundException` if there is no such principal or policy; else as the store answers.
    pub async fn detach_policy(&self, name: &str, policy_name: &str) -> Result<(), KmsError> {
        let principal = self.principal(name)?;
        let change = self.change("DetachPolicy", json!({"principal": principal, "policyName": policy_name})).await?;
        match self.store.detach_policy(&change, principal.arn(), policy_name).await {
            Ok(()) => Ok(()),
            Err(ChangeError::NotFound) => Err(no_such_principal(&principal)),
            Err(ChangeError::Refused(NoSuchPolicy)) => {
                let text = format!("{principal} has no policy {policy_name}");
                Err(KmsError::new(Code::NotFoundException, text))
            }
            Err(ChangeError::Store(error)) => Err(failure::store(error)),
        }
    }

    /// Deletes a principal, with its identity policies.
    ///
    /// # Errors
    /// `NotFoundException`; `ConflictException` if it still has access keys; else as the store answers.
    pub async fn delete_principal(&self, name: &str) -> Result<Principal, KmsError> {
        let principal = self.principal(name)?;
        let change = self.change("DeletePrincipal", json!({"principal": principal})).await?;
        match self.store.delete_principal(&change, principal.arn()).await {
            Ok(()) => Ok(principal),
            Err(ChangeError::NotFound) => Err(no_such_principal(&principal)),
            Err(ChangeError::Refused(HasAccessKeys(ids))) => {
                let text =
                    format!("{principal} still has access keys, which must be deleted first: {}", ids.join(", "));
                Err(KmsError::new(Code::ConflictException, text))
            }
            Err(ChangeError::Store(error)) => Err(failure::store(error)),
        }
    }

    /// Every principal, by ARN.
    pub fn principals(&self) -> Vec<PrincipalSummary> {
        self.store.view().principals().iter().map(|entry| self.summary(entry)).collect()
    }

    /// One principal, with its identity policies.
    ///
    /// # Errors
    /// `NotFoundException`; `ValidationException` if that is no name of one.
    pub fn show_principal(&self, name: &str) -> Result<(PrincipalSummary, Vec<PolicyText>), KmsError> {
        let principal = self.principal(name)?;
        let entry = self.store.view().principal(principal.arn()).ok_or_else(|| no_such_principal(&principal))?;
        let policies = entry.record.policies.clone().into_iter();
        let policies = policies.map(|(name, document)| PolicyText { name, document });
        Ok((self.summary(&entry), policies.collect()))
    }

    fn summary(&self, entry: &PrincipalEntry) -> PrincipalSummary {
        let PrincipalRecord { principal, policies, created } = &entry.record;
        let access_keys = self.store.view().access_keys();
        let access_keys = access_keys.iter().filter(|key| key.principal == *principal);
        PrincipalSummary {
            principal: principal.clone(),
            created: *created,
            policies: policies.keys().cloned().collect(),
            access_keys: access_keys.map(|key| key.id.clone()).collect(),
        }
    }
}

fn check_policy(name: &str, text: &str) -> Result<(), KmsError> {
    if !is_policy_name(name) {
        let text = format!("`{name}` is no name for a policy: 1 to 128 letters, digits and _+=,.@-");
        return Err(KmsError::invalid(text));
    }
    Document::identity_policy(text).map(drop)
}

pub(super) fn no_such_principal(principal: &Principal) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("{principal} does not exist"))
}
