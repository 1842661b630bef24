//! Brings audit records of changes to the trail, and has the store forget those that are there.

use crate::{error::KmsError, kms::Kms};

/// One round; answers how many records.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    let count = kms.deliver_records().await?;
    kms.forget_records().await?;
    Ok(count)
}
