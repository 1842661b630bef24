//! Access keys: made, listed, disabled, deleted.

use std::time::Instant;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::{Admin, DEADLINE, principals::no_such_principal};
use crate::{
    authn::Vault,
    clock::Timestamp,
    error::{Code, KmsError},
    failure,
    kms::keys::random,
    principal::{Principal, is_access_key_id},
    secret::SecretText,
    store::{AccessKey, AccessKeyTaken, ChangeError},
};

const ACCESS_KEY_ID_CHARACTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new access key: the one time that its secret is seen.
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret: SecretText,
}

/// An access key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessKeySummary {
    /// The access key id.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// True if it may sign.
    pub enabled: bool,
    /// When it was made.
    #[serde(serialize_with = "as_date")]
    pub created: Timestamp,
    /// The last day on which it signed, YYYY-MM-DD in UTC, as far as the service has written that down, which it does each minute.
    pub last_used: Option<String>,
}

impl Admin {
    /// Makes an access key with a random id and secret.
    ///
    /// # Errors
    /// `NotFoundException` if there is no such principal; else as HSM and store answer.
    pub async fn create_access_key(&self, vault: &Vault, name: &str) -> Result<Credentials, KmsError> {
        let credentials = Credentials { access_key_id: random_access_key_id()?, secret: random_secret()? };
        self.insert_access_key(vault, name, &credentials).await?;
        Ok(credentials)
    }

    /// Stores an access key with a given id and secret, as a seed file names them.
    ///
    /// # Errors
    /// As [`Self::create_access_key`]; `AlreadyExistsException`; `ValidationException` for an id that is none.
    pub async fn insert_access_key(
        &self,
        vault: &Vault,
        name: &str,
        credentials: &Credentials,
    ) -> Result<(), KmsError> {
        let principal = self.principal(name)?;
        if !self.has_principal(&principal) {
            return Err(no_such_principal(&principal));
        }
        let Credentials { access_key_id: id, secret } = credentials;
        if !is_access_key_id(id) {
            return Err(KmsError::invalid(format!("`{id}` is no access key id: 1 to 128 letters, digits and _")));
        }
        let sealed_secret = vault.seal(id, secret, Instant::now() + DEADLINE).await?;
        let change = self.change("CreateAccessKey", json!({"principal": principal, "accessKeyId": id})).await?;
        let access_key =
            AccessKey { id: id.clone(), principal: principal.clone(), enabled: true, created: self.now, sealed_secret };
        match self.store.insert_access_key(&change, &access_key).await {
            Ok(()) => Ok(()),
            Err(ChangeError::NotFound) => Err(no_such_principal(&principal)),
            Err(ChangeError::Refused(AccessKeyTaken)) => {
                Err(KmsError::new(Code::AlreadyExistsException, format!("access key {id} already exists")))
            }
            Err(ChangeError::Store(error)) => Err(failure::store(error)),
        }
    }

    /// True if there is an access key of this id.
    pub fn has_access_key(&self, id: &str) -> bool {
        self.store.view().access_key(id).is_some()
    }

    /// Every access key, by id.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeySummary>, KmsError> {
        let days = self.store.access_key_days().await.map_err(failure::store)?;
        let summary = |key: &AccessKey| AccessKeySummary {
            id: key.id.clone(),
            principal: key.principal.clone(),
            enabled: key.enabled,
            created: key.created,
            last_used: days.get(&key.id).map(|day| with_dashes(day)),
        };
        Ok(self.store.view().access_keys().iter().map(|key| summary(key)).collect())
    }

    /// Stops an access key from signing, for good.
    ///
    /// # Errors
    /// `NotFoundException`; else as the store answers.
    pub async fn disable_access_key(&self, id: &str) -> Result<(), KmsError> {
        let change = self.change("DisableAccessKey", json!({"accessKeyId": id})).await?;
        found(id, self.store.disable_access_key(&change, id).await.map_err(failure::store)?)
    }

    /// Deletes an access key.
    ///
    /// # Errors
    /// `NotFoundException`; else as the store answers.
    pub async fn delete_access_key(&self, id: &str) -> Result<(), KmsError> {
        let change = self.change("DeleteAccessKey", json!({"accessKeyId": id})).await?;
        found(id, self.store.delete_access_key(&change, id).await.map_err(failure::store)?)
    }
}

fn found(id: &str, is_there: bool) -> Result<(), KmsError> {
    let none = || KmsError::new(Code::NotFoundException, format!("there is no access key {id}"));
    is_there.then_some(()).ok_or_else(none)
}

/// `20260131` as `2026-01-31`.
fn with_dashes(day: &str) -> String {
    match (day.get(..4), day.get(4..6), day.get(6..)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => day.to_owned(),
    }
}

/// As CloudTrail writes times.
pub(super) fn as_date<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// `AKIA` and sixteen characters, the form that clients expect.
fn random_access_key_id() -> Result<String, KmsError> {
    let characters = random::<16>()?.map(|byte| char::from(ACCESS_KEY_ID_CHARACTERS[usize::from(byte % 32)]));
    Ok(format!("AKIA{}", String::from_iter(characters)))
}

/// Forty characters of base64: 240 random bits.
fn random_secret() -> Result<SecretText, KmsError> {
    let bytes = zeroize::Zeroizing::new(random::<30>()?);
    Ok(SecretText::from(STANDARD_NO_PAD.encode(bytes.as_slice())))
}
