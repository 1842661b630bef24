//! The response of ListGrants and ListRetirableGrants.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::response::EpochSeconds;
use crate::{
    arn::Realm,
    key::grant::{Constraints, ContextConstraint, Grant, GrantId, GrantOperation, Party},
    page::Page,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListGrantsResponse {
    grants: Vec<GrantListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

/// GrantListEntry.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GrantListEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<ConstraintsResponse>,
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

/// GrantConstraints, with the members that are set.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConstraintsResponse {
    #[serde(flatten)]
    context: Option<ContextResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_arn: Option<String>,
}

#[derive(Serialize)]
enum ContextResponse {
    #[serde(rename = "EncryptionContextEquals")]
    Equals(BTreeMap<String, String>),
    #[serde(rename = "EncryptionContextSubset")]
    Subset(BTreeMap<String, String>),
}

impl ListGrantsResponse {
    /// One page, whose grants are all of `realm`.
    pub fn of<G: AsRef<Grant>>(page: Page<G>, realm: &Realm) -> Self {
        Self {
            grants: page.items.iter().map(|grant| GrantListEntry::of(grant.as_ref(), realm)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        }
    }
}

impl GrantListEntry {
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
            constraints: (!terms.constraints.is_empty()).then(|| ConstraintsResponse::of(&terms.constraints)),
        }
    }
}

/// The ARN of a principal, and the name of a service: one of them, or neither without a party.
fn split(party: Option<&Party>) -> (Option<String>, Option<String>) {
    match party {
        Some(Party::Service(name)) => (None, Some(name.clone())),
        principal => (principal.map(|party| party.as_str().to_owned()), None),
    }
}

impl ConstraintsResponse {
    fn of(constraints: &Constraints) -> Self {
        let context = constraints.context.as_ref().map(|context| match context {
            ContextConstraint::Equals(pairs) => ContextResponse::Equals(pairs.clone()),
            ContextConstraint::Subset(pairs) => ContextResponse::Subset(pairs.clone()),
        });
        Self { context, source_arn: constraints.source_arn.clone() }
    }
}
