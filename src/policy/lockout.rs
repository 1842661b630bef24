//! The lockout safety check: a key policy that its author could not change again is refused.
//!
//! AWS KMS: PutKeyPolicy, `BypassPolicyLockoutSafetyCheck`.

use super::{Decision, Document, Request, decide};
use crate::error::{Code, KmsError};

/// True if the caller of `again`, a request for PutKeyPolicy, could put another key policy in place of `new_policy`, by it and by
/// their identity policies.
pub fn keeps_control(new_policy: &Document, again: &Request<'_>, identity: &[impl AsRef<Document>]) -> bool {
    decide(again, Some(new_policy), identity) == Decision::Allowed
}

/// The message to a caller who would lose control of the key.
pub fn locked_out() -> KmsError {
    let message = "The new key policy will not allow you to update the key policy in the future.";
    KmsError::new(Code::MalformedPolicyDocumentException, message)
}
