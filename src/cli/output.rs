//! The output of verbs: lines and tables for people, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::table::table;
use crate::{
    clock::heartbeat::{Heartbeat, Jump},
    key::{
        spec::{KeySpec, KeyUsage},
        tombstone::Tombstone,
    },
    kms::admin::{AccessKeySummary, Credentials, PolicyText, PrincipalSummary},
};

/// The cell of a table that has no value.
const NONE: &str = "-";

/// A value as JSON, on several lines.
///
/// # Errors
/// If it cannot be written as JSON, which would be a defect.
pub fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// A deleted key in a list.
#[derive(Serialize)]
pub struct DeletedKey<'a> {
    key: &'a str,
    created: String,
    deleted: String,
    destroyed: Option<String>,
    spec: KeySpec,
    usage: KeyUsage,
    deleted_by: Option<&'a str>,
}

impl<'a> From<&'a Tombstone> for DeletedKey<'a> {
    fn from(tombstone: &'a Tombstone) -> Self {
        Self {
            key: &tombstone.arn,
            created: tombstone.created.to_string(),
            deleted: tombstone.deleted.to_string(),
            destroyed: tombstone.destroyed.map(|at| at.to_string()),
            spec: tombstone.spec,
            usage: tombstone.usage,
            deleted_by: tombstone.scheduled_by.as_deref(),
        }
    }
}

/// Deleted keys, a line each.
pub fn deleted_keys(keys: &[DeletedKey<'_>]) -> String {
    let row = |key: &DeletedKey<'_>| {
        let state = if key.destroyed.is_some() { "destroyed" } else { "left on the HSM" };
        let what = format!("{} {}", key.spec, key.usage);
        let by = key.deleted_by.unwrap_or("unknown");
        [key.key, &key.created, &key.deleted, state, &what, by].map(str::to_owned)
    };
    table(["KEY", "CREATED", "DELETED", "STATE", "WHAT", "DELETED BY"], keys.iter().map(row).collect())
}

/// The running time of the deployment, and the jump of its clock if it has jumped.
pub fn clock(heartbeat: Option<Heartbeat>) -> String {
    let Some(Heartbeat { began, last, running, jump }) = heartbeat else { return "it has not run yet\n".to_owned() };
    let seconds = running.ms() / 1000;
    let mut text = format!("it has run for {seconds} s since {began}, as of {last}\n");
    if let Some(Jump { from, to }) = jump {
        let _ = writeln!(text, "its clock has jumped from {from} to {to}: nothing is deleted, expires or rotates");
    }
    text
}

/// The effect of confirming the clock: the jump that it was about, if there was one.
pub fn confirmed(jump: Option<Jump>) -> String {
    match jump {
        Some(Jump { from, to }) => {
            format!("the jump from {from} to {to} is confirmed: what is due is done again, within a minute\n")
        }
        None => "the clock was not in doubt\n".to_owned(),
    }
}

/// An access key, as lines for a shell.
pub fn credentials(made: &Credentials) -> String {
    let Credentials { access_key_id, secret } = made;
    format!("export AWS_ACCESS_KEY_ID={access_key_id}\nexport AWS_SECRET_ACCESS_KEY={}\n", secret.expose())
}

/// Access keys, a line each. No secrets.
pub fn access_keys(keys: &[AccessKeySummary]) -> String {
    let row = |key: &AccessKeySummary| {
        let state = if key.enabled { "enabled" } else { "disabled" };
        let last_used = key.last_used.as_deref().unwrap_or(NONE);
        [&key.id, state, &key.created.to_string(), last_used, key.principal.arn()].map(str::to_owned)
    };
    table(["ID", "STATE", "CREATED", "LAST USED", "PRINCIPAL"], keys.iter().map(row).collect())
}

/// Principals, a line each, with the names of their policies.
pub fn principals(principals: &[PrincipalSummary]) -> String {
    let row = |principal: &PrincipalSummary| {
        let PrincipalSummary { principal, created, policies, access_keys } = principal;
        [principal.to_string(), created.to_string(), access_keys.len().to_string(), listed(policies)]
    };
    table(["PRINCIPAL", "CREATED", "ACCESS KEYS", "POLICIES"], principals.iter().map(row).collect())
}

/// A principal with the text of its policies.
#[derive(Serialize)]
pub struct PrincipalDetails {
    /// The principal.
    #[serde(flatten)]
    pub summary: PrincipalSummary,
    /// Its identity policies.
    pub policy_documents: Vec<PolicyText>,
}

/// A principal with its access keys and policies, for people.
pub fn principal(details: &PrincipalDetails) -> String {
    let PrincipalSummary { principal, created, access_keys, .. } = &details.summary;
    let mut text = format!("{principal}\ncreated      {created}\naccess keys  {}\n", listed(access_keys));
    for PolicyText { name, document } in &details.policy_documents {
        let _ = writeln!(text, "\npolicy {name}:\n{}", document.trim_end());
    }
    text
}

/// The effect of attaching a policy with this text. `before` is the text of the policy that had its name.
pub fn attached(name: &str, principal: &str, before: Option<&str>, text: &str) -> String {
    match before {
        None => format!("policy {name} is attached to {principal}\n"),
        Some(before) if before == text => format!("policy {name} of {principal} was the same already\n"),
        Some(_) => format!("policy {name} of {principal} is replaced; it was another before\n"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { NONE.to_owned() } else { names.join(", ") }
}
