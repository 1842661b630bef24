//! A seed: principals and keys with fixed names, for development. It is read to its end before anything is made; what is there
//! already is left as it is.

mod local_kms;
mod plan;
mod private_key;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use aes_kw::{KeyInit, KwpAes256};
use serde::Deserialize;
use serde_json::json;

pub use self::local_kms::LocalKmsSeed;
use self::plan::{PlannedKey, PlannedPrincipal, about};
use crate::{
    authn::Vault,
    error::KmsError,
    failure,
    hsm::command::{EncryptFor, GenerateCarrier, Import, Imported},
    identity::Asker,
    key::{Key, algorithm::WrappingAlgorithm, alias::Alias, material, spec::KeySpec},
    kms::{Kms, admin::Admin, importing::public_half, keys::random},
    secret::{SecretBytes, SecretText},
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
    /// Parts of a seed of another format that are left out.
    #[serde(skip)]
    pub left: Vec<String>,
}

/// A principal of a seed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedPrincipal {
    /// User name, or ARN.
    pub name: String,
    /// True if it may do everything.
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
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedKey {
    /// Key id: a UUID, or `mrk-` and 32 hexadecimal digits.
    pub id: String,
    /// The region; the development region if absent.
    pub region: Option<String>,
    /// Key spec, `SYMMETRIC_DEFAULT` if absent.
    pub spec: Option<String>,
    /// Key usage, `ENCRYPT_DECRYPT` if absent.
    pub usage: Option<String>,
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
    /// Material that is not made in the HSM, of seeds of another form only.
    #[serde(skip)]
    pub material: Option<SeedMaterial>,
}

/// Material that is imported. It is in clear in the seed, so it was no secret of this machine's before.
pub enum SeedMaterial {
    /// Of a secret key.
    Secret(SecretBytes),
    /// A private key, as PKCS #8.
    PrivateKey(SecretBytes),
    /// Material that a caller is to import later.
    ToCome,
}

impl Kms {
    /// Plants a seed: makes whatever of it is not there.
    ///
    /// # Errors
    /// If the seed is not valid, by the name of the key or principal; nothing is made then. The error of the first thing that could
    /// not be made.
    pub async fn plant(&self, admin: &Admin, vault: &Vault, seed: Seed, region: &str) -> Result<(), KmsError> {
        let plan = self.plan(admin, seed, region)?;
        for principal in plan.principals {
            let name = format!("principal {}", principal.principal);
            plant_principal(admin, vault, principal).await.map_err(about(name))?;
        }
        for key in plan.keys {
            let name = format!("key {}", key.key.id());
            self.plant_key(admin, key).await.map_err(about(name))?;
        }
        Ok(())
    }

    async fn plant_key(&self, admin: &Admin, planned: PlannedKey) -> Result<(), KmsError> {
        let PlannedKey { mut key, aliases, material } = planned;
        let id = key.id();
        let region = key.region().to_owned();
        if self.store.view().key(&region, id).is_none() {
            match material {
                Some(SeedMaterial::Secret(bytes)) => self.bring(&mut key, bytes, false).await?,
                Some(SeedMaterial::PrivateKey(pkcs8)) => self.bring(&mut key, pkcs8, true).await?,
                Some(SeedMaterial::ToCome) | None => {}
            }
            let change =
                admin.change("CreateKey", json!({"keyId": key.arn(&self.realm(&region)), "seeded": true})).await?;
            self.make_key(&change, key, || Ok(())).await?;
        }
        for name in aliases {
            let parameters = json!({"aliasName": name, "targetKeyId": id, "seeded": true});
            let alias = Alias {
                name: name.into(),
                region: region.as_str().into(),
                target: id,
                created: self.now(),
                updated: self.now(),
            };
            let change = admin.change("CreateAlias", parameters).await?;
            let planted = self.store.insert_alias(&change, &alias, usize::MAX, || Ok(())).await;
            planted.map_err(|error| failure::change(error, || KmsError::internal("a seed's key was not found")))?;
        }
        Ok(())
    }

    /// Imports material into a new key, as every import does: encrypted under a key of the HSM's.
    async fn bring(&self, key: &mut Key, clear: SecretBytes, is_private: bool) -> Result<(), KmsError> {
        let deadline = Instant::now() + self.settings.generation_deadline;
        let carrier = self.hsm.call(GenerateCarrier { spec: KeySpec::Rsa2048 }, deadline).await;
        let carrier = carrier.map_err(failure::hsm_about_new_key)?;
        let (algorithm, blob) = match is_private {
            false => (WrappingAlgorithm::RsaesOaepSha256, self.encrypt_under(&carrier, clear, deadline).await?),
            true => {
                let (wrapping, wrapped) = wrap(&clear)?;
                let encrypted = self.encrypt_under(&carrier, wrapping, deadline).await?;
                (WrappingAlgorithm::RsaAesKeyWrapSha256, [encrypted, wrapped].concat())
            }
        };
        let place = self.place(Asker::SERVICE, key).await?;
        let carrier = Arc::new(carrier);
        let command = Import { carrier, algorithm, blob, spec: key.spec(), usage: key.usage(), place };
        let imported = self.hsm.call(command, deadline).await.map_err(failure::hsm_about_import)?;
        let Imported { material, fingerprint } = imported;
        let id = material::MaterialId::of_imported(key.id(), &fingerprint);
        key.put_first(material::Material { id, ..material });
        Ok(())
    }

    async fn encrypt_under(
        &self,
        carrier: &material::Material,
        input: SecretBytes,
        deadline: Instant,
    ) -> Result<Vec<u8>, KmsError> {
        let public_key = public_half(carrier)?;
        self.hsm.call(EncryptFor { public_key, input }, deadline).await.map_err(failure::hsm)
    }
}

/// A key of this moment, and `clear` wrapped under it (RFC 5649).
fn wrap(clear: &SecretBytes) -> Result<(SecretBytes, Vec<u8>), KmsError> {
    let key = zeroize::Zeroizing::new(random::<32>()?);
    let mut room = vec![0; clear.expose().len().next_multiple_of(8) + 8];
    let wrapped = KwpAes256::new(&(*key).into()).wrap_key(clear.expose(), &mut room);
    let length = wrapped.map_err(|_| KmsError::internal("a private key cannot be wrapped"))?.len();
    room.truncate(length);
    Ok((SecretBytes::from(key.to_vec()), room))
}

async fn plant_principal(admin: &Admin, vault: &Vault, planned: PlannedPrincipal) -> Result<(), KmsError> {
    let PlannedPrincipal { principal, policies, credentials } = planned;
    if !admin.has_principal(&principal) {
        admin.create_principal(principal.arn(), policies).await?;
    }
    match credentials {
        Some(made) if !admin.has_access_key(&made.access_key_id) => {
            admin.insert_access_key(vault, principal.arn(), &made).await
        }
        _ => Ok(()),
    }
}
