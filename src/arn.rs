//! Amazon Resource Names: `arn:partition:service:region:account:resource`.
//!
//! A deployment has one account. ARNs of other accounts get AccessDeniedException, which does not say whether they exist.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The six parts of an ARN, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, or another partition.
    pub partition: &'a str,
    /// `kms`, `iam`, `sts`.
    pub service: &'a str,
    /// Empty for IAM.
    pub region: &'a str,
    /// Twelve digits, or empty.
    pub account: &'a str,
    /// All that follows the fifth colon.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits an ARN; `None` if `text` does not have its six parts.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        let ("arn", partition, service, region, account, resource) =
            (next()?, next()?, next()?, next()?, next()?, next()?)
        else {
            return None;
        };
        (!partition.is_empty() && !service.is_empty() && !resource.is_empty()).then_some(Self {
            partition,
            service,
            region,
            account,
            resource,
        })
    }
}

/// True for the name of a region (AWS KMS: RegionType); answers about keys of another would not fit the model.
pub fn is_region(text: &str) -> bool {
    text.len() <= 32 && has_form_of_region(text)
}

/// The pattern of RegionType, which says nothing of the length: two or three words and a number, with hyphens between.
pub fn has_form_of_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (2..=3).contains(&words.len()) && words.iter().all(is_word) && is_number
}

/// Twelve digits that name an account; a clone shares them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is not an account id of 12 digits"))
        }
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where keys live: one partition, account and region. Every key id, alias and list belongs to one realm.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Realm {
    /// `aws`, or another partition.
    pub partition: String,
    /// The account that owns the keys.
    pub account: AccountId,
    /// The region, as the caller's credential scope names it.
    pub region: String,
}

impl Realm {
    /// ARN of a key or alias of this realm: `resource` is `key/ID` or `alias/NAME`.
    pub fn arn(&self, resource: impl fmt::Display) -> String {
        format!("arn:{}:kms:{}:{}:{resource}", self.partition, self.region, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_words_and_a_number() {
        for good in ["eu-west-1", "eu-onprem-1", "us-gov-west-12", "a-b-0"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "x", "us", "eu-1", "eu-west", "EU-west-1", "eu--1", "a-b-c-d-1", "eu-west-1-", "eu_west-1"] {
            assert!(!is_region(bad), "{bad}");
        }
        let long = format!("eu-{}-1", "x".repeat(28));
        assert!(has_form_of_region(&long) && !is_region(&long));
    }

    #[test]
    fn an_arn_has_six_parts_and_its_resource_keeps_colons() {
        let arn = Arn::parse("arn:aws:kms:eu-west-1:111122223333:alias/a:b").expect("six parts");
        assert_eq!((arn.region, arn.account, arn.resource), ("eu-west-1", "111122223333", "alias/a:b"));
        for bad in ["", "arn", "arn:aws:kms", "arn:aws:kms:r:a:", "arn::kms:r:a:x", "urn:aws:kms:r:a:x"] {
            assert_eq!(Arn::parse(bad), None, "{bad}");
        }
    }
}
