//! Seeds of local-kms (<https://github.com/nsmithuk/local-kms>, "Seeding file format"): keys with their ids and material, and
//! aliases. Parts that Strongroom has no use for are left out, and named to the operator.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{Seed, SeedKey, SeedMaterial, private_key};
use crate::{
    key::spec::{KeySpec, KeyUsage},
    secret::{SecretBytes, SecretText},
};

/// Members that are left out.
type UnknownMembers = BTreeMap<String, IgnoredAny>;

/// The content of a seed file of local-kms.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LocalKmsSeed {
    #[serde(default)]
    keys: Keys,
    #[serde(default)]
    aliases: Vec<LocalAlias>,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Keys {
    symmetric: Symmetric,
    asymmetric: Asymmetric,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Symmetric {
    aes: Vec<LocalKey>,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asymmetric {
    rsa: Vec<LocalKey>,
    ecc: Vec<LocalKey>,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LocalKey {
    metadata: Metadata,
    #[serde(default)]
    backing_keys: Vec<SecretText>,
    private_key_pem: Option<SecretText>,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    key_id: String,
    #[serde(default)]
    description: String,
    key_usage: Option<String>,
    origin: Option<String>,
    #[serde(flatten)]
    rest: UnknownMembers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LocalAlias {
    alias_name: String,
    target_key_id: String,
    #[serde(flatten)]
    rest: UnknownMembers,
}

impl LocalKmsSeed {
    /// The same as a seed of ours.
    ///
    /// # Errors
    /// Which key has material that is none, or which alias is of no key.
    pub fn into_seed(self) -> Result<Seed, String> {
        let mut left = Vec::new();
        let Self { keys: Keys { symmetric, asymmetric, rest }, aliases, rest: others } = self;
        leave(&mut left, "", &others);
        [("Keys.", &rest), ("Keys.Symmetric.", &symmetric.rest), ("Keys.Asymmetric.", &asymmetric.rest)]
            .into_iter()
            .for_each(|(place, rest)| leave(&mut left, place, rest));
        let mut keys = Vec::new();
        for key in symmetric.aes {
            keys.push(key.into_symmetric(&mut left)?);
        }
        for key in asymmetric.rsa.into_iter().chain(asymmetric.ecc) {
            keys.push(key.into_asymmetric(&mut left)?);
        }
        for LocalAlias { alias_name, target_key_id, rest } in aliases {
            leave(&mut left, &format!("{alias_name}: "), &rest);
            let target = keys.iter_mut().find(|key| key.id == target_key_id);
            target
                .ok_or_else(|| format!("{alias_name}: the seed has no key {target_key_id}"))?
                .aliases
                .push(alias_name);
        }
        Ok(Seed { principals: Vec::new(), keys, left })
    }
}

impl LocalKey {
    /// The last backing key is the one that local-kms encrypts with.
    fn into_symmetric(mut self, left: &mut Vec<String>) -> Result<SeedKey, String> {
        let id = self.metadata.key_id.clone();
        let external = self.metadata.origin.as_deref() == Some("EXTERNAL");
        let material = match self.backing_keys.pop() {
            Some(current) => Some(SeedMaterial::Secret(bytes_of(&current).ok_or_else(|| wrong(&id, "BackingKeys"))?)),
            None if external => Some(SeedMaterial::ToCome),
            None => None,
        };
        if !self.backing_keys.is_empty() {
            left.push(format!("{id}: BackingKeys before the last, since what local-kms encrypted is not read here"));
        }
        if !external && material.is_some() {
            left.push(format!("{id}: its Origin is EXTERNAL here, for its material is imported"));
        }
        Ok(self.into_key((KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt), material, left))
    }

    fn into_asymmetric(mut self, left: &mut Vec<String>) -> Result<SeedKey, String> {
        let id = self.metadata.key_id.clone();
        let pem = self.private_key_pem.take();
        let read = pem.as_ref().and_then(|pem| private_key::read(pem.expose()));
        let (spec, pkcs8) = read.ok_or_else(|| wrong(&id, "PrivateKeyPem"))?;
        left.push(format!("{id}: its Origin is EXTERNAL here, for its material is imported"));
        Ok(self.into_key((spec, KeyUsage::SignVerify), Some(SeedMaterial::PrivateKey(pkcs8)), left))
    }

    fn into_key(self, kind: (KeySpec, KeyUsage), material: Option<SeedMaterial>, left: &mut Vec<String>) -> SeedKey {
        let Metadata { key_id: id, description, key_usage, rest, .. } = self.metadata;
        [rest, self.rest].iter().for_each(|rest| leave(left, &format!("{id}: "), rest));
        SeedKey {
            id,
            spec: Some(kind.0.to_string()),
            usage: key_usage.or_else(|| Some(kind.1.to_string())),
            description,
            material,
            ..SeedKey::default()
        }
    }
}

fn wrong(id: &str, field: &str) -> String {
    format!("key {id}: {field} is not as local-kms has it")
}

fn leave(left: &mut Vec<String>, place: &str, rest: &UnknownMembers) {
    left.extend(rest.keys().map(|name| format!("{place}{name}")));
}

/// The bytes of a text in hexadecimal.
fn bytes_of(text: &SecretText) -> Option<SecretBytes> {
    let digits = text.expose().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>().map(SecretBytes::from)
}
