//! A seed: principals and keys with fixed names, for development. What is there already is left as it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::{
    authn::Vault,
    error::KmsError,
    failure,
    key::{
        Alias, Key,
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        tags::{Tag, Tags},
    },
    kms::{
        Kms,
        admin::{ADMINISTRATOR_POLICY, Admin, Credentials},
    },
    operations::member::AliasText,
    policy::{self, Document},
    secret::SecretText,
};

/// The content of a seed file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Principals of the deployment's account.
    #[serde(default)]
    pub principals: Vec<SeedPrincipal>,
    /// Keys, made in the HSM when their ids are not there yet.
    #[serde(default)]
    pub keys: Vec<SeedKey>,
}

/// A principal of a seed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedPrincipal {
    /// User name, or ARN.
    pub name: String,
    /// Whether it may do everything.
    #[serde(default)]
    pub administrator: bool,
    /// Identity policies: JSON text by name.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Access key id, with `secret_access_key`.
    pub access_key_id: Option<String>,
    /// The secret of the access key. A seed is for development: it is in clear in the file.
    pub secret_access_key: Option<SecretText>,
}

/// A key of a seed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedKey {
    /// Key id: a UUID, or `mrk-` and 32 hexadecimal digits.
    pub id: KeyId,
    /// The region; the development region if absent.
    pub region: Option<String>,
    /// Key spec, `SYMMETRIC_DEFAULT` if absent.
    pub spec: Option<KeySpec>,
    /// Key usage, `ENCRYPT_DECRYPT` if absent.
    pub usage: Option<KeyUsage>,
    /// Description.
    #[serde(default)]
    pub description: String,
    /// Aliases, with their `alias/` prefix.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Key policy: JSON text; AWS's default if absent.
    pub policy: Option<String>,
    /// Tags: value by key.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Kms {
    /// Plants a seed: makes whatever of it is not there.
    ///
    /// # Errors
    /// What the first thing that could not be made answers.
    pub async fn plant(&self, admin: &Admin, vault: &Vault, seed: Seed, region: &str) -> Result<(), KmsError> {
        for principal in seed.principals {
            plant_principal(admin, vault, principal).await?;
        }
        for key in seed.keys {
            self.plant_key(admin, key, region).await?;
        }
        Ok(())
    }

    async fn plant_key(&self, admin: &Admin, seed: SeedKey, region: &str) -> Result<(), KmsError> {
        let region = seed.region.clone().unwrap_or_else(|| region.to_owned());
        let aliases = seed.aliases.iter().map(|name| AliasText::parse(name.clone())?.checked());
        let (id, aliases) = (seed.id, aliases.collect::<Result<Vec<_>, KmsError>>()?);
        if self.store.view().key(&region, id).is_none() {
            let key = self.seed_key(seed, &region)?;
            let act = admin.act("CreateKey", json!({"key": key.arn(&self.realm(&region)), "seeded": true})).await?;
            self.make_key(&act, key, || Ok(())).await?;
        }
        for name in aliases {
            let alias = Alias { name, region: region.clone(), target: id, created: self.now(), updated: self.now() };
            let parameters = json!({"aliasName": alias.name, "targetKeyId": id, "seeded": true});
            let act = admin.act("CreateAlias", parameters).await?;
            let planted = self.store.insert_alias(&act, &alias, usize::MAX, || Ok(())).await;
            planted.map_err(|error| failure::change(error, || KmsError::internal("a seed's key was not found")))?;
        }
        Ok(())
    }

    fn seed_key(&self, seed: SeedKey, region: &str) -> Result<Key, KmsError> {
        let spec = seed.spec.unwrap_or(KeySpec::SymmetricDefault);
        let usage = seed.usage.unwrap_or(KeyUsage::EncryptDecrypt);
        if !spec.usages().contains(&usage) {
            return Err(KmsError::invalid(format!("KeyUsage {usage} is not compatible with KeySpec {spec}")));
        }
        let default = || policy::default_key_policy(&self.settings.partition, &self.settings.account);
        let policy = seed.policy.unwrap_or_else(default);
        Document::key_policy(&policy)?;
        let tags: Vec<_> = seed.tags.into_iter().map(|(tag_key, tag_value)| Tag { tag_key, tag_value }).collect();
        Ok(Key {
            description: seed.description,
            tags: Tags::default().with(&tags)?,
            ..Key::new(seed.id, region, (spec, usage), policy, self.now())
        })
    }
}

async fn plant_principal(admin: &Admin, vault: &Vault, seed: SeedPrincipal) -> Result<(), KmsError> {
    let principal = admin.principal(&seed.name)?;
    if !admin.has_principal(&principal) {
        let mut policies = seed.policies;
        if seed.administrator {
            policies.insert("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned());
        }
        admin.create_principal(&seed.name, policies).await?;
    }
    match (seed.access_key_id, seed.secret_access_key) {
        (Some(access_key_id), Some(_)) if admin.has_access_key(&access_key_id) => Ok(()),
        (Some(access_key_id), Some(secret)) => {
            admin.insert_access_key(vault, &seed.name, &Credentials { access_key_id, secret }).await
        }
        (None, None) => Ok(()),
        _ => Err(KmsError::invalid(format!("{}: an access key needs its id and its secret", seed.name))),
    }
}
