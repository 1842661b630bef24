//! Brings audit records to this process's trail whose own process is gone.

use crate::{error::KmsError, kms::Kms};

/// One round; answers how many records.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    kms.adopt_records().await
}
