//! Expiry of imported material: what is not valid any more is taken out of its key and destroyed.

use serde_json::json;

use crate::{
    clock::Moment,
    error::KmsError,
    key::{Key, material::MaterialId},
    kms::Kms,
};

impl Kms {
    /// Takes out of every key what is not valid any more; answers how many materials that were.
    ///
    /// # Errors
    /// The first that HSM or store answer; the other materials are taken out all the same.
    pub async fn expire_materials(&self, moment: Moment) -> Result<usize, KmsError> {
        let mut outcomes = Vec::new();
        for entry in self.store.view().expired(moment) {
            for name in entry.key.expired(moment) {
                outcomes.push(self.expire(&entry.key, name, moment).await);
            }
        }
        outcomes.into_iter().sum()
    }

    async fn expire(&self, key: &Key, name: MaterialId, moment: Moment) -> Result<usize, KmsError> {
        let still = |key: &Key| Ok(key.expired(moment).any(|expired| expired == name));
        let details = json!({"keyId": key.id(), "keyMaterialId": name});
        let act = self.own_change(self.change_of_key(key, "DeleteExpiredKeyMaterial", details));
        self.remove_material(&act, key, name, still).await.map(usize::from)
    }
}
