//! How a caller names a key: key id, key ARN, alias name or alias ARN (AWS KMS: "Key identifiers").

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    arn::{Arn, Realm},
    error::{Code, KmsError},
};

/// A key id: a lower-case UUID, or `mrk-` and 32 hexadecimal digits for a multi-Region key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId {
    multi_region: bool,
    uuid: Uuid,
}

impl KeyId {
    /// A new random id.
    pub fn random(multi_region: bool) -> Self {
        Self { multi_region, uuid: Uuid::new_v4() }
    }

    /// Reads an id, exactly as AWS writes it: lower case, dashes in their places.
    pub fn parse(text: &str) -> Option<Self> {
        let (multi_region, digits) = match text.strip_prefix("mrk-") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let id = Self { multi_region, uuid: Uuid::try_parse(digits).ok()? };
        (id.to_string() == text).then_some(id)
    }

    /// True if it is the id of a multi-Region key.
    pub fn is_multi_region(&self) -> bool {
        self.multi_region
    }

    /// The id as a flag and 16 bytes, the form of the ciphertext blob.
    pub fn to_parts(self) -> (bool, [u8; 16]) {
        (self.multi_region, self.uuid.into_bytes())
    }

    /// From the form of the ciphertext blob.
    pub fn from_parts(multi_region: bool, bytes: [u8; 16]) -> Self {
        Self { multi_region, uuid: Uuid::from_bytes(bytes) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.multi_region {
            true => write!(f, "mrk-{}", self.uuid.simple()),
            false => write!(f, "{}", self.uuid.hyphenated()),
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a key id"))
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

/// A caller's KeyId, once its form is understood. Nothing is looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// A key of the caller's own realm.
    Id(KeyId),
    /// A key by its ARN; the region is the caller's own, the account may be another.
    Arn {
        /// The key.
        id: KeyId,
        /// The account that the ARN names.
        account: String,
    },
    /// An alias of the caller's own realm, with its `alias/` prefix.
    Alias(String),
    /// An alias by its ARN.
    AliasArn {
        /// Name with its `alias/` prefix.
        name: String,
        /// The account that the ARN names.
        account: String,
    },
}

impl KeyRef {
    /// Understands `text` as a reference made in `realm`.
    ///
    /// # Errors
    /// `NotFoundException` for anything that is no identifier and for an ARN of another region, `InvalidArnException`
    /// for an ARN that is not one of a key or alias.
    pub fn parse(text: &str, realm: &Realm) -> Result<Self, KmsError> {
        if text.starts_with("alias/") {
            return Ok(Self::Alias(text.to_owned()));
        }
        if text.starts_with("arn:") {
            return Self::parse_arn(text, realm);
        }
        match KeyId::parse(text) {
            Some(id) => Ok(Self::Id(id)),
            None if is_id_in_capitals(text) => Err(no_such_key(&realm.arn(format_args!("key/{text}")))),
            None => Err(invalid_key_id(format_args!("'{text}'"))),
        }
    }

    fn parse_arn(text: &str, realm: &Realm) -> Result<Self, KmsError> {
        let invalid = || KmsError::new(Code::InvalidArnException, format!("Invalid arn {text}"));
        let arn = Arn::parse(text).filter(|arn| arn.service == "kms").ok_or_else(invalid)?;
        if arn.partition != realm.partition {
            return Err(invalid());
        }
        if arn.region != realm.region {
            return Err(KmsError::new(Code::NotFoundException, format!("Invalid arn {}", arn.region)));
        }
        let account = arn.account.to_owned();
        match arn.resource.split_once('/') {
            Some(("key", id)) => match KeyId::parse(id) {
                Some(id) => Ok(Self::Arn { id, account }),
                None if is_id_in_capitals(id) => Err(no_such_key(text)),
                None => Err(invalid_key_id(id)),
            },
            Some(("alias", name)) if !name.is_empty() => Ok(Self::AliasArn { name: arn.resource.to_owned(), account }),
            _ => Err(invalid()),
        }
    }

    /// The same reference where only ids and key ARNs are taken.
    ///
    /// # Errors
    /// `InvalidArnException` for an alias.
    pub fn without_alias(self) -> Result<Self, KmsError> {
        match self {
            Self::Alias(_) | Self::AliasArn { .. } => {
                Err(KmsError::new(Code::InvalidArnException, "Key Aliases are not supported for this operation."))
            }
            other => Ok(other),
        }
    }
}

/// True if it is the id of a key but for its letters' case. Ids are told apart by it, and all that there are have small ones.
fn is_id_in_capitals(text: &str) -> bool {
    !text.starts_with("MRK") && KeyId::parse(&text.to_ascii_lowercase()).is_some()
}

/// AWS puts what stands for itself in quotes, and what comes out of an ARN not.
fn invalid_key_id(shown: impl fmt::Display) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("Invalid keyId {shown}"))
}

/// The answer where a key is named that is not there.
pub fn no_such_key(arn: &str) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("Key '{arn}' does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::AccountId;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn parse(text: &str) -> Result<KeyRef, String> {
        let account = AccountId::try_from("111122223333".to_owned()).expect("an account");
        let realm = Realm { partition: "aws".into(), account, region: "eu-west-1".into() };
        KeyRef::parse(text, &realm).map_err(|e| e.to_string())
    }

    #[test]
    fn four_forms_are_understood() {
        let id = KeyId::parse(ID).expect("an id");
        assert_eq!(parse(ID), Ok(KeyRef::Id(id)));
        assert_eq!(parse("alias/a/b"), Ok(KeyRef::Alias("alias/a/b".into())));
        let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{ID}");
        assert_eq!(parse(&arn), Ok(KeyRef::Arn { id, account: "111122223333".into() }));
        let arn = "arn:aws:kms:eu-west-1:444455556666:alias/x";
        let name = "alias/x".into();
        assert_eq!(parse(arn), Ok(KeyRef::AliasArn { name, account: "444455556666".into() }));
        let multi_region = "mrk-1234abcd12ab34cd56ef1234567890ab";
        assert_eq!(KeyId::parse(multi_region).map(|id| id.to_string()).as_deref(), Some(multi_region));
    }

    #[test]
    fn what_is_no_identifier_is_refused_with_awss_sentence() {
        for (text, expected) in [
            ("fake-key-id", "NotFoundException: Invalid keyId 'fake-key-id'"),
            ("1234abcd12ab34cd56ef1234567890ab", "NotFoundException: Invalid keyId '1234abcd12ab34cd56ef1234567890ab'"),
            ("mrk-fake", "NotFoundException: Invalid keyId 'mrk-fake'"),
            (
                "1234ABCD-12ab-34cd-56ef-1234567890ab",
                "NotFoundException: Key 'arn:aws:kms:eu-west-1:111122223333:key/1234ABCD-12ab-34cd-56ef-1234567890ab' does not exist",
            ),
            (
                "arn:aws:kms:eu-west-1:111122223333:key/1234ABCD-12ab-34cd-56ef-1234567890ab",
                "NotFoundException: Key 'arn:aws:kms:eu-west-1:111122223333:key/1234ABCD-12ab-34cd-56ef-1234567890ab' does not exist",
            ),
            (
                "mrk-1234ABCD12ab34cd56ef1234567890ab",
                "NotFoundException: Key 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1234ABCD12ab34cd56ef1234567890ab' does not exist",
            ),
            (
                "MRK-1234ABCD12ab34cd56ef1234567890ab",
                "NotFoundException: Invalid keyId 'MRK-1234ABCD12ab34cd56ef1234567890ab'",
            ),
            ("arn:aws:kms:eu-west-1:111122223333:key/foo", "NotFoundException: Invalid keyId foo"),
            ("arn:aws:kms:us-east-1:111122223333:key/x", "NotFoundException: Invalid arn us-east-1"),
            ("arn:aws:s3:::bucket", "InvalidArnException: Invalid arn arn:aws:s3:::bucket"),
            (
                "arn:aws:kms:eu-west-1:111122223333:grant/x",
                "InvalidArnException: Invalid arn arn:aws:kms:eu-west-1:111122223333:grant/x",
            ),
        ] {
            assert_eq!(parse(text), Err(expected.into()));
        }
    }
}
