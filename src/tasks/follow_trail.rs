//! Sees that the audit trail's file is still the one of its name: it may have been renamed, as when logs are rotated, or removed.

use crate::{error::KmsError, kms::Kms};

/// One round; answers whether the trail goes on in another file.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    kms.follow_trail().await
}
