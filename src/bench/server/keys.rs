//! The keys that a server is measured with: the one that is named, or keys of their own, which are deleted afterwards.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::Client;
use crate::{
    cli::bench::BenchOperation,
    key::spec::{KeySpec, KeyUsage},
};

const DESCRIPTION: &str = "Made by strongroom bench, and of no use afterwards";
/// The least waiting period that AWS knows.
const WAITING_DAYS: u8 = 7;

/// A key, as DescribeKey tells of it.
pub struct Key {
    pub id: String,
    metadata: Value,
}

impl Key {
    fn of(answer: &Value) -> Result<Self, String> {
        let metadata = answer.get("KeyMetadata").ok_or("no KeyMetadata in the answer")?;
        let id = metadata.get("KeyId").and_then(Value::as_str).ok_or("no KeyId in the answer")?;
        Ok(Self { id: id.to_owned(), metadata: metadata.clone() })
    }

    /// The first algorithm of a list in its metadata.
    pub fn algorithm(&self, list: &str) -> Result<&str, String> {
        let first = self.metadata.get(list).and_then(|list| list.get(0)).and_then(Value::as_str);
        first.ok_or_else(|| format!("the key {} has no {list}: it is of another key usage", self.id))
    }
}

/// The named key, or those that were made so far.
pub struct Keys {
    named: Option<Arc<Key>>,
    made: Vec<(KeySpec, Arc<Key>)>,
}

impl Keys {
    /// The named key, if one is, and none otherwise yet.
    ///
    /// # Errors
    /// If it cannot be described.
    pub async fn named(client: &Client, key: Option<&str>) -> Result<Self, String> {
        let named = match key {
            Some(key) => Some(Arc::new(Key::of(&client.ask("DescribeKey", &json!({ "KeyId": key })).await?)?)),
            None => None,
        };
        Ok(Self { named, made: Vec::new() })
    }

    /// The key for an operation, if it needs one: the named one, or one that is made for all operations of its kind.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn key_for(&mut self, client: &Client, operation: BenchOperation) -> Result<Option<Arc<Key>>, String> {
        let Some((spec, usage)) = fit_for(operation) else { return Ok(None) };
        let made = self.made.iter().find(|(of, _)| *of == spec).map(|(_, key)| key);
        if let Some(key) = self.named.as_ref().or(made) {
            return Ok(Some(Arc::clone(key)));
        }
        let request = json!({ "KeySpec": spec, "KeyUsage": usage, "Description": DESCRIPTION });
        let key = Arc::new(Key::of(&client.ask("CreateKey", &request).await?)?);
        self.made.push((spec, Arc::clone(&key)));
        Ok(Some(key))
    }

    /// Schedules the deletion of all that were made, and answers their ids.
    ///
    /// # Errors
    /// The ids of those that stay, and why.
    pub async fn schedule_deletion(self, client: &Client) -> Result<Vec<String>, String> {
        let (mut scheduled, mut failed) = (Vec::new(), Vec::new());
        for (_, key) in self.made {
            let request = json!({ "KeyId": key.id, "PendingWindowInDays": WAITING_DAYS });
            match client.ask("ScheduleKeyDeletion", &request).await {
                Ok(_) => scheduled.push(key.id.clone()),
                Err(why) => failed.push(format!("the key {}, which was made for this, is still there: {why}", key.id)),
            }
        }
        if failed.is_empty() { Ok(scheduled) } else { Err(failed.join("; ")) }
    }
}

/// The spec and usage of a key that is made for an operation; none if it takes no key.
fn fit_for(operation: BenchOperation) -> Option<(KeySpec, KeyUsage)> {
    use BenchOperation::*;
    match operation {
        Sign | Verify => Some((KeySpec::EccNistP256, KeyUsage::SignVerify)),
        GenerateMac | VerifyMac => Some((KeySpec::Hmac256, KeyUsage::GenerateVerifyMac)),
        Encrypt | Decrypt | GenerateDataKey | GenerateDataKeyPair | DescribeKey => {
            Some((KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt))
        }
        GenerateRandom => None,
    }
}
