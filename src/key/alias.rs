//! Aliases, and the names that they can have (AWS KMS: "Aliases in AWS KMS"; CreateAlias, "AliasName").

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reference::KeyId;
use crate::{
    clock::Timestamp,
    error::{Code, KmsError},
};

/// The longest name, in characters, its `alias/` prefix included.
pub const MAX_NAME_LENGTH: usize = 256;

/// A name for a key: unique in its realm, movable to another key of the same class and usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The whole name, with its `alias/` prefix.
    pub name: Arc<str>,
    /// The region it belongs to.
    pub region: Arc<str>,
    /// The key it names now.
    pub target: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last pointed at a key.
    pub updated: Timestamp,
}

/// True for a character that a name may have.
pub fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '_' | '-')
}

/// Gives `text` back if callers may make an alias of that name.
///
/// # Errors
/// `ValidationException`; `NotAuthorizedException` for the names that AWS keeps for itself.
pub fn name_for_callers(text: String) -> Result<String, KmsError> {
    let Some(name) = text.strip_prefix("alias/") else {
        return Err(KmsError::invalid(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    };
    match name {
        "" => Err(KmsError::invalid("Invalid identifier")),
        _ if name.starts_with("aws/") => Err(KmsError::bare(Code::NotAuthorizedException)),
        _ if name.contains(':') => Err(KmsError::invalid(format!("{text} contains invalid characters for an alias"))),
        _ => Ok(text),
    }
}
