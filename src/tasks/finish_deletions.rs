//! Destroys what HSMs have of keys that were deleted, and writes down that it is gone.

use crate::{error::KmsError, kms::Kms};

/// Finishes deletions, also those behind one that cannot be finished now; answers how many.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let mut outcomes = Vec::new();
    for tombstone in kms.unfinished_deletions().await? {
        let finished = kms.finish_deletion(&tombstone).await.inspect_err(|error| {
            tracing::warn!(key = tombstone.arn, %error, "a key that was deleted could not be destroyed; it is tried again");
        });
        outcomes.push(finished.map(|()| 1));
    }
    outcomes.into_iter().sum()
}
