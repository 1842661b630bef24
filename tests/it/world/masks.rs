//! Answers with what differs from run to run replaced, so that they can be compared with a text.

use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use strongroom::key::{material::MaterialId, reference::KeyId};

/// The ids of keys that were masked, in the order in which they came.
#[derive(Default)]
pub(super) struct Masks {
    key_ids: Mutex<Vec<String>>,
}

impl Masks {
    /// The value with what differs from run to run replaced: key ids by `KEY1`, `KEY2`…, material ids, blobs, markers.
    pub(super) fn masked(&self, member: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                Value::Object(members.iter().map(|(k, v)| (k.clone(), self.masked(k, v))).collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(|item| self.masked(member, item)).collect(),
            Value::String(text) => self.masked_text(member, text).into(),
            other => other.clone(),
        }
    }

    fn masked_text(&self, member: &str, text: &str) -> String {
        match member {
            "NextMarker" => "MARKER".to_owned(),
            "GrantToken" => "TOKEN".to_owned(),
            "GrantId" => "GRANT".to_owned(),
            "TrustAnchorCertificate" => "PEM".to_owned(),
            "CiphertextBlob"
            | "CiphertextForRecipient"
            | "Plaintext"
            | "PublicKey"
            | "Signature"
            | "Mac"
            | "SharedSecret"
            | "PrivateKeyCiphertextBlob"
            | "PrivateKeyPlaintext" => {
                format!("{} bytes", STANDARD.decode(text).expect("base64").len())
            }
            _ => self.with_names(text),
        }
    }

    fn with_names(&self, text: &str) -> String {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let ids = text.split(|c| !is_id(c)).filter(|word| !word.is_empty());
        ids.fold(text.to_owned(), |masked, id| match (KeyId::parse(id), MaterialId::parse(id)) {
            (Some(_), _) => masked.replace(id, &self.name(id)),
            (_, Some(_)) => masked.replace(id, "MATERIAL"),
            _ if id.starts_with("cks-") => masked.replace(id, "KEYSTORE"),
            _ => masked,
        })
    }

    fn name(&self, id: &str) -> String {
        let mut key_ids = self.key_ids.lock();
        let known = key_ids.iter().position(|key_id| key_id == id);
        let n = known.unwrap_or_else(|| {
            key_ids.push(id.to_owned());
            key_ids.len() - 1
        });
        format!("KEY{}", n + 1)
    }
}
