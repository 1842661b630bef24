//! The lockout safety check: a key policy that its author could not change again is refused.
//!
//! AWS KMS: PutKeyPolicy, `BypassPolicyLockoutSafetyCheck`.

use super::{Decision, Document, Request, Resource, decide};
use crate::{
    action::Action,
    arn::AccountId,
    error::{Code, KmsError},
    principal::Principal,
};

/// Whether `caller` could put another key policy in place of `new_policy`, by it and by their identity policies.
pub fn keeps_control(
    new_policy: &Document,
    caller: &Principal,
    identity: &[impl AsRef<Document>],
    key_arn: &str,
    owner: &AccountId,
) -> bool {
    let resource = Resource::Key { arn: key_arn, owner };
    let again = Request { principal: caller, action: Action::PutKeyPolicy, resource };
    decide(&again, Some(new_policy), identity) == Decision::Allowed
}

/// What a caller is told who would lose control.
pub fn locked_out() -> KmsError {
    let message = "The new key policy will not allow you to update the key policy in the future.";
    KmsError::new(Code::MalformedPolicyDocumentException, message)
}
