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
        let mut parts = credential.splitn(6, '/');
        let mut next = || parts.next();
        let (Some(access_key_id), Some(date), Some(region), Some(service), Some(terminator), None) =
            (next(), next(), next(), next(), next(), next())
        else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{}'",
                shown(credential)
            )));
        };
        let text = credential.get(access_key_id.len() + 1..).unwrap_or_default();
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
