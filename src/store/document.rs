//! A stored document: a value of a kind, with a name, written as JSON.

use serde::{Serialize, de::DeserializeOwned};

use super::error::{StoreError, StoreErrorKind};

/// A value that is stored as one document.
pub(super) trait StoredDocument: Serialize + DeserializeOwned {
    /// The kind, as stored.
    const KIND: &'static str;

    /// The name, unique in its kind.
    fn id(&self) -> String;

    /// The name of the document that this one belongs to.
    fn parent(&self) -> Option<String> {
        None
    }

    /// CKA_IDs of the intents that are fulfilled once this document is stored.
    fn fulfils(&self) -> Vec<String> {
        Vec::new()
    }

    /// The body, as stored.
    fn body(&self, what: &'static str) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::because(what, StoreErrorKind::Corrupt, error))
    }

    /// Reads a body. It must be of the document that the row says: a row cannot be moved under another name.
    fn read(what: &'static str, id: &str, body: &str) -> Result<Self, StoreError> {
        let document: Self =
            serde_json::from_str(body).map_err(|error| StoreError::because(what, StoreErrorKind::Corrupt, error))?;
        if document.id() == id { Ok(document) } else { Err(StoreError::new(what, StoreErrorKind::Corrupt)) }
    }
}
