//! Gives keys new material whose rotation is due, or whose material has been used for as many encryptions as is wise.

use crate::{clock::Moment, error::KmsError, kms::Kms};

/// Rotates what is due; answers how many keys that were.
pub(super) async fn round(kms: &Kms, moment: Option<Moment>) -> Result<usize, KmsError> {
    kms.rotate_due(moment).await
}
