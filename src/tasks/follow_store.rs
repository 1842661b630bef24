//! Brings the view up to date with what other processes wrote.

use crate::{error::KmsError, kms::Kms};

/// Reads the change feed once; answers how many changes there were.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    kms.follow_store().await
}
