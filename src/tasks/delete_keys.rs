//! Deletes keys whose waiting time is over: what is known of a key gives way to its tombstone.

use crate::{clock::Moment, error::KmsError, kms::Kms};

/// The most keys that one round deletes.
const BATCH: usize = 1000;

/// Deletes what is due; answers how many keys that were.
pub(super) async fn round(kms: &Kms, moment: Moment) -> Result<usize, KmsError> {
    let mut count = 0;
    for key in kms.keys_due_for_deletion(moment, BATCH) {
        if kms.delete_key(&key, moment).await? {
            tracing::info!(key = %key.id, region = key.region, "a key was deleted");
            count += 1;
        }
    }
    Ok(count)
}
