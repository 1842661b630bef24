//! Connects custom key stores that are to be connected, after a start too, and disconnects those that are not.

use crate::{error::KmsError, kms::Kms};

/// One step; answers how many key stores have another connection state now.
pub(super) async fn round(kms: &Kms) -> Result<usize, KmsError> {
    kms.tend_key_stores().await
}
