//! Authorization by key policies and identity policies (AWS KMS: "Key policies"; IAM: "Policy evaluation logic").
//!
//! 1. A matching Deny anywhere refuses, whatever else allows.
//! 2. What nothing allows is refused. The account that owns a key has no access by owning it.
//! 3. For a key of the caller's own account the key policy decides: it allows the caller, or it leaves the decision to
//!    the account, and then an identity policy must allow.
//! 4. For a key of another account both must allow, and only some actions cross accounts at all.
//! 5. Aliases, principals, and operations without a resource, are decided by identity policies alone.
//!
//! Decisions are pure: no clock, no store, no log. Grants are not read here; [`access`](crate::access),
//! which reads them, asks [`Reason::is_explicit`] first, because no grant overrides a Deny.

mod document;
mod facts;
mod lockout;
mod pattern;
mod pretty;
mod principal;
mod raw;

use std::cmp::max;

use crate::{
    action::Action,
    arn::AccountId,
    principal::{Principal, PrincipalKind},
};

use self::document::Verdict;
pub use self::{
    document::Document,
    facts::{Facts, NewKey, RequestFacts},
    lockout::{keeps_control, locked_out},
    pretty::pretty,
};

/// The question: may this principal perform this action on this resource?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The principal that asks.
    pub principal: &'a Principal,
    /// The action that it asks for.
    pub action: Action,
    /// On what.
    pub resource: Resource<'a>,
    /// The facts that conditions may ask about beside.
    pub facts: Facts<'a>,
}

/// The resource that an action is performed on.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// A key.
    Key {
        /// Its ARN.
        arn: &'a str,
        /// The account that owns it.
        owner: &'a AccountId,
    },
    /// An alias, for the operations that change aliases.
    Alias {
        /// Its ARN.
        arn: &'a str,
        /// The account that owns it.
        owner: &'a AccountId,
    },
    /// A principal: ListRetirableGrants is about who may retire.
    Principal(&'a Principal),
    /// Nothing in particular: CreateKey, ListKeys, GenerateRandom.
    Any,
}

impl<'a> Resource<'a> {
    /// The ARN, or `*`.
    pub fn text(&self) -> &'a str {
        match self {
            Self::Key { arn, .. } | Self::Alias { arn, .. } => arn,
            Self::Principal(principal) => principal.arn(),
            Self::Any => "*",
        }
    }

    fn is_foreign_to(&self, caller: &Principal) -> bool {
        match self {
            Self::Key { owner, .. } | Self::Alias { owner, .. } => *owner != caller.account(),
            Self::Principal(principal) => principal.account() != caller.account(),
            Self::Any => false,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// No, and why.
    Denied(Reason),
}

/// Why not. This is what an audit record says; [`Reason::message`] is what the caller is told, which may be less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A Deny in the key policy.
    ExplicitDenyInKeyPolicy,
    /// A Deny in a policy of the caller.
    ExplicitDenyInIdentityPolicy,
    /// The decision is the account's, and no policy of the caller allows.
    NoIdentityPolicyAllows,
    /// The key policy neither allows the caller nor leaves it to the account.
    NoKeyPolicyAllows,
    /// The resource is another account's, and that account does not allow it, or nobody could.
    CrossAccount,
}

/// Decides.
///
/// A key without a readable policy (`None`) is a key that allows nothing. For a foreign key that does not exist this
/// gives the answer of one that does exist and keeps silent.
pub fn decide(request: &Request<'_>, key_policy: Option<&Document>, identity: &[impl AsRef<Document>]) -> Decision {
    let own = own_verdict(request, identity);
    let key = match request.resource {
        Resource::Key { .. } => key_policy.map_or(Verdict::Silent, |policy| policy.verdict(request)),
        Resource::Alias { .. } | Resource::Principal(_) | Resource::Any => Verdict::Delegates,
    };
    match refusal(request, own, key) {
        Some(reason) => Decision::Denied(reason),
        None => Decision::Allowed,
    }
}

/// True if the caller's own policies allow the request: a grant to an account needs that besides itself.
pub fn identity_allows(request: &Request<'_>, identity: &[impl AsRef<Document>]) -> bool {
    own_verdict(request, identity) == Verdict::Allows
}

/// The verdict of the caller's own policies. The root user is its account and needs no identity policy.
fn own_verdict(request: &Request<'_>, identity: &[impl AsRef<Document>]) -> Verdict {
    let is_root = *request.principal.kind() == PrincipalKind::Root;
    let unasked = if is_root { Verdict::Allows } else { Verdict::Silent };
    identity.iter().map(|policy| policy.as_ref().verdict(request)).fold(unasked, max)
}

fn refusal(request: &Request<'_>, own: Verdict, key: Verdict) -> Option<Reason> {
    let foreign = request.resource.is_foreign_to(request.principal);
    match (own, key) {
        (Verdict::Denies, _) => Some(Reason::ExplicitDenyInIdentityPolicy),
        (_, Verdict::Denies) => Some(Reason::ExplicitDenyInKeyPolicy),
        _ if foreign && !request.action.crosses_accounts() => Some(Reason::CrossAccount),
        (_, Verdict::Silent) if foreign => Some(Reason::CrossAccount),
        (_, Verdict::Silent) => Some(Reason::NoKeyPolicyAllows),
        (_, Verdict::Allows) if !foreign => None,
        (Verdict::Allows, _) => None,
        _ => Some(Reason::NoIdentityPolicyAllows),
    }
}

impl Reason {
    /// The word for it in audit records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ExplicitDenyInKeyPolicy => "ExplicitDenyInKeyPolicy",
            Self::ExplicitDenyInIdentityPolicy => "ExplicitDenyInIdentityPolicy",
            Self::NoIdentityPolicyAllows => "NoIdentityPolicyAllows",
            Self::NoKeyPolicyAllows => "NoKeyPolicyAllows",
            Self::CrossAccount => "CrossAccount",
        }
    }

    /// True if a policy says no, rather than none saying yes. Nothing overrides that, a grant neither.
    pub fn is_explicit(&self) -> bool {
        matches!(self, Self::ExplicitDenyInKeyPolicy | Self::ExplicitDenyInIdentityPolicy)
    }

    /// AWS's sentence.
    ///
    /// About another account's key it says one thing, whether the key policy is silent or denies and whether the key
    /// exists or not. Only a Deny of the caller's own account, which does not depend on the key, is told as it is.
    pub fn message(&self, request: &Request<'_>) -> String {
        let Request { principal, action, resource, .. } = request;
        let because = match self {
            Self::ExplicitDenyInIdentityPolicy => "with an explicit deny in an identity-based policy".to_owned(),
            Self::CrossAccount => UNTOLD.to_owned(),
            _ if resource.is_foreign_to(principal) => UNTOLD.to_owned(),
            Self::ExplicitDenyInKeyPolicy => "with an explicit deny in a resource-based policy".to_owned(),
            Self::NoIdentityPolicyAllows => format!("because no identity-based policy allows the kms:{action} action"),
            Self::NoKeyPolicyAllows => format!("because no resource-based policy allows the kms:{action} action"),
        };
        let on = resource.text();
        format!("User: {principal} is not authorized to perform: kms:{action} on resource: {on} {because}")
    }
}

const UNTOLD: &str = "because the resource does not exist in this Region, no resource-based policies allow access, \
                      or a resource-based policy explicitly denies access";

/// The policy of a key that is created without one: it leaves every decision to the account.
pub fn default_key_policy(partition: &str, account: &AccountId) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:{partition}:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

#[cfg(test)]
mod tests;
