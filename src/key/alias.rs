//! Names of aliases (AWS KMS: "Aliases in AWS KMS"; CreateAlias, "AliasName").

use crate::error::{Code, KmsError};

/// The longest name, in characters, its `alias/` prefix included.
pub const MAX_NAME_LENGTH: usize = 256;

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
