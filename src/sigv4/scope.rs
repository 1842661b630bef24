//! `Credential`: an access key, and the scope of the signing key that was made of it.

use super::{
    SERVICE, TERMINATOR,
    header::{incomplete, shown},
    wrong,
};
use crate::error::KmsError;

/// The five parts.
pub(super) struct CredentialScope<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    service: &'a str,
    terminator: &'a str,
    /// All of it but the access key id.
    pub(super) text: &'a str,
}

impl<'a> CredentialScope<'a> {
    pub(super) fn parse(credential: &'a str) -> Result<Self, KmsError> {
        let parts: Vec<&str> = credential.splitn(6, '/').collect();
        let (&[access_key_id, date, region, service, terminator], Some((_, text))) =
            (parts.as_slice(), credential.split_once('/'))
        else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{}'",
                shown(credential)
            )));
        };
        Ok(Self { access_key_id, date, region, service, terminator, text })
    }

    /// AWS says all that is wrong in one message.
    pub(super) fn check(&self, date: &str, valid_region: impl Fn(&str) -> bool) -> Result<(), KmsError> {
        let Self { region, service, terminator, .. } = self;
        let mut message = String::new();
        if !valid_region(region) {
            message += &format!("Credential should be scoped to a valid region, not '{}'. ", shown(region));
        }
        if *service != SERVICE {
            message += &format!("Credential should be scoped to correct service: '{SERVICE}'. ");
        }
        if *terminator != TERMINATOR {
            let terminator = shown(terminator);
            message +=
                &format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. ");
        }
        let theirs = self.date;
        let ours = date.get(..8).unwrap_or_default();
        if theirs != ours {
            message += &format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{ours}', from '{date}'. ",
                shown(theirs)
            );
        }
        if message.is_empty() { Ok(()) } else { Err(wrong(message)) }
    }
}
