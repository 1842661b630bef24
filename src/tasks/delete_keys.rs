//! Deletes keys whose waiting time is over: first the material, then what is known of the key.

use crate::{error::KmsError, kms::Kms};

/// The most keys that one round deletes.
const BATCH: usize = 100;

/// Deletes what is due; answers how many keys that were.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let due = kms.keys_due_for_deletion(BATCH);
    for key in &due {
        kms.delete_key(key).await?;
        tracing::info!(key = %key.id, region = key.region, "a key was deleted");
    }
    Ok(due.len())
}
