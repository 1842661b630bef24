//! A key policy as CreateKey and PutKeyPolicy take it: in size, in form, and leaving the caller in control.

use crate::{
    error::KmsError,
    kms::cx::Cx,
    policy::{self, Document},
};

/// Checks `text` as the new policy of the key with `key_arn`.
///
/// # Errors
/// `LimitExceededException`, `MalformedPolicyDocumentException`.
pub fn check(cx: &Cx<'_>, text: &str, key_arn: &str, bypass_lockout_check: bool) -> Result<(), KmsError> {
    let document = Document::key_policy(text)?;
    let caller = cx.caller();
    let keeps = policy::keeps_control(&document, &caller.principal, &caller.policies, key_arn, &cx.realm().account);
    if bypass_lockout_check || keeps { Ok(()) } else { Err(policy::locked_out()) }
}
