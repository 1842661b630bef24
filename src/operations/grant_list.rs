//! What ListGrants and ListRetirableGrants answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::answer::EpochSeconds;
use crate::{
    arn::Realm,
    key::grant::{Constraints, ContextConstraint, Grant, GrantId, GrantOperation, Party},
    page::Page,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Grants {
    grants: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

/// GrantListEntry.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<Shown>,
    creation_date: EpochSeconds,
    grant_id: GrantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee_principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee_service_principal: Option<String>,
    issuing_account: String,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    operations: BTreeSet<GrantOperation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_service_principal: Option<String>,
}

/// GrantConstraints, with the members in use.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(flatten)]
    context: Option<ShownContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_arn: Option<String>,
}

#[derive(Serialize)]
enum ShownContext {
    #[serde(rename = "EncryptionContextEquals")]
    Equals(BTreeMap<String, String>),
    #[serde(rename = "EncryptionContextSubset")]
    Subset(BTreeMap<String, String>),
}

impl Grants {
    /// One page, whose grants are all of `realm`.
    pub fn of<G: AsRef<Grant>>(page: Page<G>, realm: &Realm) -> Self {
        Self {
            grants: page.items.iter().map(|grant| Item::of(grant.as_ref(), realm)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        }
    }
}

impl Item {
    fn of(grant: &Grant, realm: &Realm) -> Self {
        let terms = &grant.terms;
        let (grantee_principal, grantee_service_principal) = split(Some(&terms.grantee));
        let (retiring_principal, retiring_service_principal) = split(terms.retiring.as_ref());
        Self {
            key_id: realm.arn(format_args!("key/{}", grant.key)),
            grant_id: grant.id,
            name: terms.name.clone(),
            creation_date: EpochSeconds(grant.created),
            grantee_principal,
            grantee_service_principal,
            retiring_principal,
            retiring_service_principal,
            issuing_account: format!("arn:{}:iam::{}:root", realm.partition, grant.issuer),
            operations: terms.operations.clone(),
            constraints: (!terms.constraints.is_empty()).then(|| Shown::of(&terms.constraints)),
        }
    }
}

/// The ARN, or the name of the service.
fn split(party: Option<&Party>) -> (Option<String>, Option<String>) {
    match party {
        Some(Party::Service(name)) => (None, Some(name.clone())),
        principal => (principal.map(|party| party.as_str().to_owned()), None),
    }
}

impl Shown {
    fn of(constraints: &Constraints) -> Self {
        let context = constraints.context.as_ref().map(|context| match context {
            ContextConstraint::Equals(pairs) => ShownContext::Equals(pairs.clone()),
            ContextConstraint::Subset(pairs) => ShownContext::Subset(pairs.clone()),
        });
        Self { context, source_arn: constraints.source_arn.clone() }
    }
}
