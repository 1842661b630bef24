//! How often a material may have been used with a random IV (NIST SP 800-38D section 8.3: at most 2^32 times).

use super::{Store, StoreError, StoreErrorKind};
use crate::{identity::Asker, key::material::MaterialId};

impl Store {
    /// Reserves the next `block` invocations of a material and answers how many are reserved by now, these included:
    /// the caller may use the last `block` of them, and nobody else will. Invocations that a crash leaves unused are
    /// lost, which is the safe side.
    ///
    /// # Errors
    /// If the store fails; nothing may be used then.
    pub async fn reserve_invocations(&self, material: MaterialId, block: u64) -> Result<u64, StoreError> {
        const WHAT: &str = "reserve invocations";
        let block = i64::try_from(block).map_err(|error| StoreError::because(WHAT, StoreErrorKind::Full, error))?;
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        let text = "INSERT INTO invocations (material, reserved) VALUES ($1, $2) \
                    ON CONFLICT (material) DO UPDATE SET reserved = invocations.reserved + excluded.reserved \
                    RETURNING reserved";
        let reserved: i64 = sqlx::query_scalar(text)
            .bind(material.to_string())
            .bind(block)
            .fetch_one(write.connection())
            .await
            .map_err(StoreError::sql(WHAT))?;
        write.commit().await?;
        u64::try_from(reserved).map_err(|error| StoreError::because(WHAT, StoreErrorKind::Corrupt, error))
    }
}
