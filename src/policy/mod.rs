//! Placeholder until the policy engine is merged.

use crate::error::KmsError;

/// A compiled policy.
#[derive(Debug)]
pub struct Document;

impl Document {
    /// Compiles a key policy.
    ///
    /// # Errors
    /// If it does not parse.
    pub fn key_policy(text: &str) -> Result<Self, KmsError> {
        serde_json::from_str::<serde_json::Value>(text).map(|_| Self).map_err(KmsError::internal)
    }

    /// Compiles an identity policy.
    ///
    /// # Errors
    /// If it does not parse.
    pub fn identity_policy(text: &str) -> Result<Self, KmsError> {
        Self::key_policy(text)
    }
}
