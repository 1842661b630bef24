//! Deletes keys whose waiting time is over: first the material, then what is known of the key.

use crate::{clock::Moment, error::KmsError, kms::Kms};

/// The most keys that one round deletes.
const BATCH: usize = 100;

/// Deletes what is due; answers how many keys that were.
pub(super) async fn round(kms: &Kms, moment: Moment) -> Result<usize, KmsError> {
    let due = kms.keys_due_for_deletion(moment, BATCH);
    for key in &due {
        kms.delete_key(key, moment).await?;
        tracing::info!(key = %key.id, region = key.region, "a key was deleted");
    }
    Ok(due.len())
}
