//! Destroys what HSMs have of keys that were deleted, and writes down that it is gone.

use crate::{error::KmsError, kms::Kms};

/// Finishes deletions, also those behind one that cannot be finished now; answers how many.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let mut outcomes = Vec::new();
    for tombstone in kms.unfinished_deletions().await? {
        // That it fails is told of the round: an HSM that is away may have had many keys.
        let finished = kms.finish_deletion(&tombstone).await.inspect_err(|error| {
            tracing::debug!(
                key = tombstone.arn,
                error = error.with_causes(),
                "a key that was deleted could not be destroyed"
            );
        });
        outcomes.push(finished.map(|()| 1));
    }
    outcomes.into_iter().sum()
}
