//! What an operator does beside the API: found the deployment, make principals and access keys.
//!
//! The command line does it on the store directly, also while the service runs: the change feed tells the service.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use uuid::Uuid;

use crate::{
    arn::AccountId,
    authn::Vault,
    clock::{
        Timestamp,
        heartbeat::{Heartbeat, Jump},
    },
    error::{Code, KmsError},
    failure,
    hsm::{Answer, Command, Hsm, Place},
    key::{
        spec::{KeySpec, KeyUsage},
        tombstone::Tombstone,
    },
    kms::{
        keys::{random, random_material_id},
        sealing::mismatch,
    },
    policy::Document,
    principal::Principal,
    secret::SecretText,
    store::{AccessKey, Deployment, PrincipalRecord, Store},
};

/// An identity policy that allows all of KMS.
pub const ADMINISTRATOR_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;

const ACCESS_KEY_ID_CHARACTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DEADLINE: Duration = Duration::from_secs(30);

/// The operator's verbs.
pub struct Admin {
    store: Store,
    account: AccountId,
    partition: String,
    now: Timestamp,
}

/// A new access key: the one time that its secret is seen.
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret: SecretText,
}

/// Gives `vault` what the deployment in `store` has for it; whether there is a deployment.
///
/// # Errors
/// If the store is of another account; else as the store answers.
pub async fn furnish(store: &Store, vault: &Vault, account: &AccountId) -> Result<bool, KmsError> {
    let Some(deployment) = store.deployment().await.map_err(failure::store)? else { return Ok(false) };
    if deployment.account != *account {
        let text = format!("the store belongs to account {}, not {account}", deployment.account);
        return Err(KmsError::invalid(text));
    }
    vault.furnish(store.clone(), &deployment);
    Ok(true)
}

/// Founds the deployment in `store` if there is none, and gives `vault` what it has for it.
///
/// # Errors
/// As [`furnish`], and as the HSM answers.
pub async fn found(
    store: &Store,
    hsm: &Hsm,
    vault: &Vault,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), KmsError> {
    if furnish(store, vault, account).await? {
        return Ok(());
    }
    let (spec, usage) = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let command = Command::Generate { id: random_material_id()?, spec, usage, place: Place::Wrapped };
    let answer = hsm.call(command, Instant::now() + DEADLINE).await.map_err(failure::hsm)?;
    let Answer::Material(service_material) = answer else { return Err(mismatch()) };
    let id = Uuid::new_v4();
    let deployment =
        Deployment { id, account: account.clone(), created: now, service_material, successors: Vec::new() };
    store.insert_deployment(&deployment).await.map_err(failure::store)?;
    vault.furnish(store.clone(), &deployment);
    Ok(())
}

impl Admin {
    /// The operator's verbs on `store`.
    pub fn new(store: Store, account: AccountId, partition: String, now: Timestamp) -> Self {
        Self { store, account, partition, now }
    }

    /// The user called `name`, which may be an ARN of this account or a plain name.
    ///
    /// # Errors
    /// `ValidationException` if it is neither.
    pub fn principal(&self, name: &str) -> Result<Principal, KmsError> {
        let arn = match name.starts_with("arn:") {
            true => name.to_owned(),
            false => format!("arn:{}:iam::{}:user/{name}", self.partition, self.account),
        };
        let principal = Principal::try_from(arn).map_err(KmsError::invalid)?;
        match principal.account() == &self.account {
            true => Ok(principal),
            false => Err(KmsError::invalid(format!("{principal} is not of account {}", self.account))),
        }
    }

    /// Makes a principal, with the identity policies given: text by name.
    ///
    /// # Errors
    /// `AlreadyExistsException`, `MalformedPolicyDocumentException`; else as the store answers.
    pub async fn create_principal(
        &self,
        name: &str,
        policies: BTreeMap<String, String>,
    ) -> Result<Principal, KmsError> {
        let principal = self.principal(name)?;
        policies.values().try_for_each(|text| Document::identity_policy(text).map(|_| ()))?;
        let record = PrincipalRecord { principal: principal.clone(), policies, created: self.now };
        match self.store.insert_principal(&record).await.map_err(failure::store)? {
            true => Ok(principal),
            false => Err(KmsError::new(Code::AlreadyExistsException, format!("{principal} already exists"))),
        }
    }

    /// Gives a principal an identity policy, in place of the one of that name if there is one.
    ///
    /// # Errors
    /// `NotFoundException`, `MalformedPolicyDocumentException`; else as the store answers.
    pub async fn attach_policy(&self, name: &str, policy_name: &str, text: &str) -> Result<(), KmsError> {
        let principal = self.principal(name)?;
        Document::identity_policy(text)?;
        let attached = self.store.attach_policy(principal.arn(), policy_name, text).await;
        if attached.map_err(failure::store)? { Ok(()) } else { Err(no_such_principal(&principal)) }
    }

    /// Every principal with the names of its policies.
    pub fn principals(&self) -> Vec<(Principal, Vec<String>)> {
        let entries = self.store.view().principals();
        let names = |policies: &BTreeMap<String, String>| policies.keys().cloned().collect();
        entries.iter().map(|entry| (entry.record.principal.clone(), names(&entry.record.policies))).collect()
    }

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
    /// As [`Self::create_access_key`]; `AlreadyExistsException`.
    pub async fn insert_access_key(
        &self,
        vault: &Vault,
        name: &str,
        credentials: &Credentials,
    ) -> Result<(), KmsError> {
        let principal = self.principal(name)?;
        if self.store.view().principal(principal.arn()).is_none() {
            return Err(no_such_principal(&principal));
        }
        let Credentials { access_key_id: id, secret } = credentials;
        let sealed_secret = vault.seal(id, secret, Instant::now() + DEADLINE).await?;
        let access_key = AccessKey { id: id.clone(), principal, enabled: true, created: self.now, sealed_secret };
        match self.store.insert_access_key(&access_key).await.map_err(failure::store)? {
            true => Ok(()),
            false => Err(KmsError::new(Code::AlreadyExistsException, format!("access key {id} already exists"))),
        }
    }

    /// Whether there is an access key of this id.
    pub fn has_access_key(&self, id: &str) -> bool {
        self.store.view().access_key(id).is_some()
    }

    /// Every access key: id, owner, whether it may sign, when it was made.
    pub fn access_keys(&self) -> Vec<(String, Principal, bool, Timestamp)> {
        let keys = self.store.view().access_keys();
        keys.iter().map(|key| (key.id.clone(), key.principal.clone(), key.enabled, key.created)).collect()
    }

    /// Stops an access key from signing, for good.
    ///
    /// # Errors
    /// `NotFoundException`; else as the store answers.
    pub async fn disable_access_key(&self, id: &str) -> Result<(), KmsError> {
        match self.store.disable_access_key(id).await.map_err(failure::store)? {
            true => Ok(()),
            false => Err(KmsError::new(Code::NotFoundException, format!("there is no access key {id}"))),
        }
    }
}

impl Admin {
    /// What is remembered of the keys that were deleted, by region and key id.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, KmsError> {
        let mut all: Vec<Tombstone> = Vec::new();
        loop {
            let more = self.store.tombstones(all.last()).await.map_err(failure::store)?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// The last heartbeat of the service; `None` before its first.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn heartbeat(&self) -> Result<Option<Heartbeat>, KmsError> {
        self.store.heartbeat().await.map_err(failure::store)
    }

    /// Says that the date is right, so that what is due may be done again; answers the jump that made it doubtful, if any.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn confirm_clock(&self) -> Result<Option<Jump>, KmsError> {
        self.store.confirm_clock().await.map_err(failure::store)
    }
}

fn no_such_principal(principal: &Principal) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("{principal} does not exist"))
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
