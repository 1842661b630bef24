//! Deletes keys whose waiting time is over: what is known of a key gives way to its tombstone.

use crate::{clock::Moment, error::KmsError, kms::Kms};

/// The most keys that one round deletes.
const BATCH: usize = 1000;

/// Deletes what is due, also what is behind a key that cannot be deleted now; answers how many keys that were.
pub(super) async fn round(kms: &Kms, moment: Moment) -> Result<usize, KmsError> {
    let mut outcomes = Vec::new();
    for key in kms.keys_due_for_deletion(moment, BATCH) {
        let deleted = kms.delete_key(&key, moment).await;
        if let Ok(true) = deleted {
            tracing::info!(key = %key.id(), region = key.region(), "a key was deleted");
        }
        outcomes.push(deleted.map(usize::from));
    }
    outcomes.into_iter().sum()
}
