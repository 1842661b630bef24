//! A key policy as CreateKey and PutKeyPolicy take it: in size, in form, and leaving the caller in control.

use crate::{
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::{self, Document},
};

/// The largest key policy in bytes. The API's model says 131,072 characters; the service does not take them.
const MAX_POLICY_BYTES: usize = 32_768;

/// Checks `text` as the new policy of the key with `key_arn`.
///
/// # Errors
/// `LimitExceededException`, `MalformedPolicyDocumentException`.
pub fn check(cx: &Cx<'_>, text: &str, key_arn: &str, bypass_lockout_check: bool) -> Result<(), KmsError> {
    if text.len() > MAX_POLICY_BYTES {
        let message = format!("A key policy may be at most {MAX_POLICY_BYTES} bytes long.");
        return Err(KmsError::new(Code::LimitExceededException, message));
    }
    let document = Document::key_policy(text)?;
    let caller = cx.caller();
    let keeps = policy::keeps_control(&document, &caller.principal, &caller.policies, key_arn, &cx.realm().account);
    if bypass_lockout_check || keeps {
        return Ok(());
    }
    let message = "The new key policy will not allow you to update the key policy in the future.";
    Err(KmsError::new(Code::MalformedPolicyDocumentException, message))
}
