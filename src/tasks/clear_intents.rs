//! Destroys objects that were made on the HSM for keys that were never stored: CreateKey was cut off between the two.

use std::time::Duration;

use crate::{error::KmsError, kms::Kms};

/// After this time no CreateKey can still be on its way to storing its key.
const ABANDONED_AFTER: Duration = Duration::from_secs(10 * 60);

/// Clears abandoned intents, also those behind one that cannot be cleared now; answers how many there were.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let mut outcomes = Vec::new();
    for intent in kms.intents_older_than(ABANDONED_AFTER).await? {
        outcomes.push(kms.clear(&intent).await.map(|()| 1));
    }
    outcomes.into_iter().sum()
}
