//! Destroys imported material that is not valid any more. Its key waits for it to be imported again.

use crate::{clock::Moment, error::KmsError, kms::Kms};

/// Destroys what is due; answers how many materials that were.
pub(super) async fn round(kms: &Kms, moment: Moment) -> Result<usize, KmsError> {
    kms.expire_materials(moment).await
}
