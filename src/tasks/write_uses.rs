//! Writes down when keys were last used.

use crate::{error::KmsError, kms::Kms};

/// Writes what was noted since the last round; answers of how many keys.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    kms.write_uses().await
}
