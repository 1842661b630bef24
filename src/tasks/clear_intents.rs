//! Destroys objects that were made on the HSM for keys that were never stored: CreateKey was cut off between the two.

use std::time::Duration;

use crate::{error::KmsError, kms::Kms};

/// After this time no CreateKey can still be on its way to storing its key.
const ABANDONED_AFTER: Duration = Duration::from_secs(10 * 60);

/// Clears abandoned intents; answers how many there were.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let abandoned = kms.intents_older_than(ABANDONED_AFTER).await?;
    for intent in &abandoned {
        kms.abandon(intent).await?;
        tracing::info!(key = %intent.key, "an object without a key was destroyed on the HSM");
    }
    Ok(abandoned.len())
}
