//! Access keys: the credentials that requests are signed with.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, document::Document};
use crate::{clock::Timestamp, key::material::base64_bytes, principal::Principal};

/// An access key, as it is stored. Its secret is sealed under the service material, which only the HSM can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// Whether it may sign.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// IV and ciphertext of the secret.
    #[serde(with = "base64_bytes")]
    pub sealed_secret: Vec<u8>,
}

impl Document for AccessKey {
    const KIND: &'static str = "access_key";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn parent(&self) -> Option<String> {
        Some(self.principal.arn().to_owned())
    }
}

impl Store {
    /// Adds an access key; `false` if there is one of that id.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn insert_access_key(&self, access_key: &AccessKey) -> Result<bool, StoreError> {
        self.insert("store the access key", access_key).await
    }

    /// Stops an access key from signing, for good; `false` if there is no such access key.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn disable_access_key(&self, id: &str) -> Result<bool, StoreError> {
        self.change_if_there("disable the access key", id, |key: &mut AccessKey| key.enabled = false).await
    }
}
