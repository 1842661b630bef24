//! A seed that was checked completely, before anything of it is made.

use std::collections::{BTreeMap, HashSet};

use super::{Seed, SeedKey, SeedMaterial, SeedPrincipal};
use crate::{
    error::{Code, KmsError},
    failure,
    key::{
        Key, Origin, alias,
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        tags::{Tag, Tags},
    },
    kms::{
        Kms,
        admin::{ADMINISTRATOR_POLICY, Admin, Credentials},
    },
    policy::{self, Document},
    principal::{Principal, is_access_key_id},
};

/// The principals and keys to make, unless they are there already.
pub(super) struct Plan {
    pub(super) principals: Vec<PlannedPrincipal>,
    pub(super) keys: Vec<PlannedKey>,
}

pub(super) struct PlannedPrincipal {
    pub(super) principal: Principal,
    pub(super) policies: BTreeMap<String, String>,
    pub(super) credentials: Option<Credentials>,
}

pub(super) struct PlannedKey {
    pub(super) key: Key,
    pub(super) aliases: Vec<String>,
    pub(super) material: Option<SeedMaterial>,
}

/// Names that a seed has once.
#[derive(Default)]
struct Taken(HashSet<(&'static str, String)>);

impl Taken {
    fn take(&mut self, kind: &'static str, name: &str) -> Result<(), KmsError> {
        match self.0.insert((kind, name.to_owned())) {
            true => Ok(()),
            false => Err(KmsError::invalid(format!("the seed has the {kind} {name} twice"))),
        }
    }
}

impl Kms {
    /// Reads a seed; `region` is that of keys that name none.
    pub(super) fn plan(&self, admin: &Admin, seed: Seed, region: &str) -> Result<Plan, KmsError> {
        let mut taken = Taken::default();
        let mut plan = Plan { principals: Vec::new(), keys: Vec::new() };
        for principal in seed.principals {
            let name = format!("principal {}", principal.name);
            plan.principals.push(plan_principal(admin, principal, &mut taken).map_err(about(name))?);
        }
        for key in seed.keys {
            let name = format!("key {}", key.id);
            plan.keys.push(self.plan_key(key, region, &mut taken).map_err(about(name))?);
        }
        Ok(plan)
    }

    fn plan_key(&self, seed: SeedKey, region: &str, taken: &mut Taken) -> Result<PlannedKey, KmsError> {
        let id = KeyId::try_from(seed.id.clone()).map_err(KmsError::invalid)?;
        let region = seed.region.as_deref().unwrap_or(region);
        taken.take("key id", &format!("{id} of {region}"))?;
        if !self.serves(region) {
            return Err(KmsError::invalid(format!("the region {region} is not served")));
        }
        let (spec, usage) = kind(&seed)?;
        if !self.hsm.supports(spec, usage).map_err(failure::hsm)? {
            let text = format!("the HSM does not support key spec {spec} and key usage {usage}");
            return Err(KmsError::new(Code::UnsupportedOperationException, text));
        }
        let aliases = seed.aliases.into_iter().map(alias_name).collect::<Result<Vec<_>, KmsError>>()?;
        aliases.iter().try_for_each(|alias| taken.take("alias", &format!("{alias} of {region}")))?;
        let default = || policy::default_key_policy(&self.settings.partition, &self.settings.account);
        let policy = seed.policy.unwrap_or_else(default);
        Document::key_policy(&policy)?;
        let tags: Vec<_> = seed.tags.into_iter().map(|(tag_key, tag_value)| Tag { tag_key, tag_value }).collect();
        let key = Key::new(id, region, (spec, usage), policy, self.now());
        let key = key.with_description(seed.description).with_tags(Tags::default().with(&tags)?);
        Ok(PlannedKey { key: with_origin(key, seed.material.as_ref())?, aliases, material: seed.material })
    }
}

/// The name, if a caller could have made an alias of it.
fn alias_name(text: String) -> Result<String, KmsError> {
    let is_one = (1..=alias::MAX_NAME_LENGTH).contains(&text.len()) && text.chars().all(alias::is_name_character);
    if !is_one {
        return Err(KmsError::invalid(format!("`{text}` is not a name for an alias")));
    }
    alias::name_for_callers(text)
}

/// Key spec and usage, if they are such and go together.
fn kind(seed: &SeedKey) -> Result<(KeySpec, KeyUsage), KmsError> {
    let wrong = |what: &str, word: &str, right: Vec<&str>| {
        Err(KmsError::invalid(format!("`{word}` is no {what}; there are {}", right.join(", "))))
    };
    let spec = match &seed.spec {
        None => KeySpec::SymmetricDefault,
        Some(word) => match KeySpec::from_name(word) {
            Some(spec) => spec,
            None => return wrong("key spec", word, KeySpec::ALL.iter().map(|spec| spec.as_str()).collect()),
        },
    };
    let word = seed.usage.as_deref().unwrap_or(KeyUsage::EncryptDecrypt.as_str());
    match KeyUsage::from_name(word).filter(|usage| spec.usages().contains(usage)) {
        Some(usage) => Ok((spec, usage)),
        None => {
            let what = format!("key usage of {spec}");
            wrong(&what, word, spec.usages().iter().map(|usage| usage.as_str()).collect())
        }
    }
}

/// A key whose material comes from the seed, or from elsewhere later, is as one whose material was imported.
fn with_origin(key: Key, material: Option<&SeedMaterial>) -> Result<Key, KmsError> {
    match material {
        None => Ok(key),
        Some(SeedMaterial::Secret(bytes))
            if !key.spec().imported_bytes().is_some_and(|right| right.contains(&bytes.expose().len())) =>
        {
            Err(KmsError::invalid(format!("its material has a length that {} does not have", key.spec())))
        }
        Some(_) => Ok(key.with_origin(Origin::External)),
    }
}

fn plan_principal(admin: &Admin, seed: SeedPrincipal, taken: &mut Taken) -> Result<PlannedPrincipal, KmsError> {
    let principal = admin.principal(&seed.name)?;
    taken.take("principal", principal.arn())?;
    let mut policies = seed.policies;
    if seed.administrator {
        policies.insert("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned());
    }
    admin.new_principal(&principal, &policies)?;
    let credentials = match (seed.access_key_id, seed.secret_access_key) {
        (Some(access_key_id), Some(secret)) if is_access_key_id(&access_key_id) => {
            taken.take("access key id", &access_key_id)?;
            Some(Credentials { access_key_id, secret })
        }
        (Some(id), Some(_)) => return Err(KmsError::invalid(format!("`{id}` is no access key id"))),
        (None, None) => None,
        _ => return Err(KmsError::invalid("an access key needs its id and its secret")),
    };
    Ok(PlannedPrincipal { principal, policies, credentials })
}

/// An error about a part of the seed, with its name in front.
pub(super) fn about(name: String) -> impl Fn(KmsError) -> KmsError {
    move |error| {
        let message = error.message.clone().unwrap_or_else(|| "it is not possible".to_owned());
        KmsError::new(error.code, format!("{name}: {message}")).because(error)
    }
}
