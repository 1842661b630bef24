//! A key policy as CreateKey and PutKeyPolicy take it: in size, in form, and leaving the caller in control.

use crate::{
    error::KmsError,
    kms::cx::Cx,
    policy::{self, Document, RequestFacts},
};

/// Checks `text` as the new policy of the key with `key_arn`, given by a request with `facts`.
///
/// # Errors
/// `LimitExceededException`, `MalformedPolicyDocumentException`.
pub fn check(cx: &Cx<'_>, text: &str, key_arn: &str, facts: &RequestFacts) -> Result<(), KmsError> {
    let document = Document::key_policy(text)?;
    let bypass = facts.bypass_policy_lockout_safety_check.unwrap_or(false);
    let keeps = cx.keeps_control(&document, key_arn, facts);
    if bypass || keeps { Ok(()) } else { Err(policy::locked_out()) }
}
