//! What operations ask of the store. Changes take the decision that allows them, which is made in their transaction: see
//! [`Act`].

use std::{sync::Arc, time::Instant};

use crate::{
    access::{Authorized, KeyEntry},
    error::{Code, KmsError},
    failure,
    hsm::{
        Hsm,
        command::{Generate, Place},
    },
    identity::Asker,
    key::{
        Key, Origin,
        alias::Alias,
        material::{Material, MaterialId},
        multi_region::Family,
        reference::{KeyId, no_such_key},
        spec::{KeySpec, KeyUsage},
        state::Demand,
    },
    kms::{KeyStoreKind, Kms, act::CallChange, cx::Cx},
    store::{Actor, AliasInsert, AliasMove, AliasName, ChangeError, Intent},
};

/// Aliases that one key can have (AWS KMS: "Resource quotas").
const MAX_ALIASES_PER_KEY: usize = 50;

impl Kms {
    /// Makes material for `key` in its HSM, on behalf of `actor`, and stores the key with it, if `judge` still lets it.
    ///
    /// # Errors
    /// Those of `judge`; `UnsupportedOperationException` if the HSM cannot do what the key spec needs; else as HSM and
    /// store answer.
    pub(super) async fn make_key(
        &self,
        actor: &impl Actor,
        mut key: Key,
        judge: impl FnOnce() -> Result<(), KmsError>,
    ) -> Result<Key, KmsError> {
        let (spec, usage, hsm) = (key.spec(), key.usage(), self.hsm_of(&key)?);
        // What is imported is wrapped, if only to be put where it is kept.
        let comes_in = key.origin() != Origin::External || hsm.wraps(spec, usage);
        if !hsm.supports(spec, usage).map_err(failure::hsm)? || !comes_in {
            let text = format!("Keys of key spec {spec} and key usage {usage} are not supported by this HSM.");
            return Err(KmsError::new(Code::UnsupportedOperationException, text));
        }
        if key.origin() != Origin::External {
            let place = self.place(actor.asker(), &key).await?;
            let material = self.generate(actor.asker(), &hsm, spec, usage, place).await?;
            key.put_first(material.found_by(key.custom_key_store()));
        }
        match self.store.insert_key(actor, &key, judge).await {
            Ok(()) => Ok(key),
            Err(ChangeError::Refused(refused)) => {
                for material in key.materials() {
                    self.undo(&hsm, Arc::clone(material)).await;
                }
                Err(refused)
            }
            Err(ChangeError::NotFound) => Err(KmsError::internal("a new key was not found")),
            Err(ChangeError::Store(error)) => Err(failure::store(error)),
        }
    }

    /// Material of a spec, made in `hsm`.
    pub(super) async fn generate(
        &self,
        asker: Asker,
        hsm: &Hsm,
        spec: KeySpec,
        usage: KeyUsage,
        place: Place,
    ) -> Result<Material, KmsError> {
        let command = Generate { id: random_material_id()?, spec, usage, place };
        let deadline = Instant::now() + self.settings.generation_deadline;
        hsm.call_for(asker, command, deadline).await.map_err(failure::hsm_about_new_key)
    }

    /// Where the key's material goes. An object on an HSM is meant before it is made, so that one whose key was never
    /// stored can be told from one that is somebody else's.
    pub(super) async fn place(&self, asker: Asker, key: &Key) -> Result<Place, KmsError> {
        // What an HSM does not wrap stays in it, whatever the key store is; and so does what is in a custom one.
        let wrapped = self.settings.keeping == KeyStoreKind::Wrapped && key.custom_key_store().is_none();
        if wrapped && self.hsm.wraps(key.spec(), key.usage()) {
            return Ok(Place::Wrapped);
        }
        let (cka_id, made) = (random()?, self.running().await?);
        let (region, key_store) = (key.region().to_owned(), key.custom_key_store().cloned());
        let intent = Intent { region, key: key.id(), spec: key.spec(), cka_id, key_store, made };
        self.store.intend(asker, &intent).await.map_err(failure::store)?;
        Ok(Place::Token { cka_id })
    }
}

/// Random bytes of the operating system: for names, and for secrets that are not keys.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KmsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KmsError::internal(error.to_string()))?;
    Ok(bytes)
}

/// A name for new material. It is public, so the operating system's randomness will do.
pub(super) fn random_material_id() -> Result<MaterialId, KmsError> {
    random().map(MaterialId)
}

impl Cx<'_> {
    /// Makes a key, if `may` lets the caller.
    ///
    /// # Errors
    /// Those of `may`; `UnsupportedOperationException` if the HSM cannot do what the key spec needs; else as HSM and
    /// store answer.
    pub async fn create_key(&self, may: impl Fn(&Cx<'_>) -> Result<(), KmsError>, key: Key) -> Result<Key, KmsError> {
        let (act, arn) = (CallChange::of(self), key.arn(self.realm()));
        let judge = || {
            act.decide(|cx| {
                cx.note(arn);
                may(cx)
            })
        };
        let key = self.kms.make_key(&act, key, judge).await?;
        act.conclude();
        Ok(key)
    }

    /// Changes a key as `change` says, if `may` lets the caller and its state meets `demand`; answers what it is then.
    ///
    /// # Errors
    /// Those of `may`, of `change` and of the state table; `NotFoundException` if the key is gone; else as the store answers.
    pub async fn change(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        demand: Demand,
        change: impl FnOnce(&mut Key) -> Result<(), KmsError>,
    ) -> Result<Key, KmsError> {
        let (key, act) = (may(self)?, CallChange::of(self));
        let guarded = |stored: &mut Key| {
            let key = act.decide(&may)?;
            stored.at(self.now()).state().check(demand, key.arn())?;
            change(stored)
        };
        let changed = self.kms.store.change_key(&act, &self.realm().region, key.id(), guarded).await;
        let changed = changed.map_err(|error| failure::change(error, || gone(&key)))?;
        act.conclude();
        Ok(changed)
    }

    /// Changes a key and, beside it, its relatives in other regions, as `change` says, all or none; answers all of them. The
    /// first argument of `change` is the key.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn change_family(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        demand: Demand,
        change: impl FnOnce(&mut Key, &mut Family) -> Result<(), KmsError>,
    ) -> Result<Family, KmsError> {
        let (key, act, region) = (may(self)?, CallChange::of(self), &self.realm().region);
        let guarded = |own: &mut Key, relatives: &mut Family| {
            let key = act.decide(&may)?;
            own.at(self.now()).state().check(demand, key.arn())?;
            change(own, relatives)
        };
        let changed = self.kms.store.change_family(&act, region, key.id(), guarded).await;
        let changed = changed.map_err(|error| failure::change(error, || gone(&key)))?;
        act.conclude();
        Ok(changed)
    }

    /// Gives the key that `may` authorizes the alias `name`.
    ///
    /// # Errors
    /// Those of `may`; `AlreadyExistsException`, `LimitExceededException`; else as the store answers.
    pub async fn create_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: String,
    ) -> Result<(), KmsError> {
        let (key, act, region) = (may(self)?, CallChange::of(self), self.realm().region.clone());
        let alias = Alias { name, region, target: key.id(), created: self.now(), updated: self.now() };
        let judge = || act.decide(&may).map(drop);
        let made = self.kms.store.insert_alias(&act, &alias, MAX_ALIASES_PER_KEY, judge).await;
        match made.map_err(|error| failure::change(error, || gone(&key)))? {
            AliasInsert::Done => {
                act.conclude();
                Ok(())
            }
            AliasInsert::NameTaken => {
                let text = format!("An alias with the name {} already exists", self.realm().arn(&alias.name));
                Err(KmsError::new(Code::AlreadyExistsException, text))
            }
            AliasInsert::TooMany => Err(too_many_aliases(&key)),
            AliasInsert::TargetGone => Err(gone(&key)),
        }
    }

    /// Points the alias `name` at the key that `may` authorizes.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException`, `LimitExceededException`; else as the store answers.
    pub async fn move_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: &str,
    ) -> Result<(), KmsError> {
        let (key, act, region) = (may(self)?, CallChange::of(self), &self.realm().region);
        let (alias, target) = (AliasName { region, name }, (key.id(), self.now()));
        let judge = || act.decide(&may).map(drop);
        let moved = self.kms.store.move_alias(&act, alias, target, MAX_ALIASES_PER_KEY, judge).await;
        match moved.map_err(|error| failure::change(error, || gone(&key)))? {
            AliasMove::Done => {
                act.conclude();
                Ok(())
            }
            AliasMove::NotFound => Err(self.no_such_alias(name)),
            AliasMove::TooMany => Err(too_many_aliases(&key)),
            AliasMove::TargetGone => Err(gone(&key)),
        }
    }

    /// Takes the alias `name` from the key it names, which `may` authorizes.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException` if it is gone; else as the store answers.
    pub async fn delete_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: &str,
    ) -> Result<(), KmsError> {
        let (key, act, region) = (may(self)?, CallChange::of(self), &self.realm().region);
        let judge = || act.decide(&may).map(drop);
        let deleted = self.kms.store.delete_alias(&act, AliasName { region, name }, judge).await;
        match deleted.map_err(|error| failure::change(error, || gone(&key)))? {
            true => {
                act.conclude();
                Ok(())
            }
            false => Err(self.no_such_alias(name)),
        }
    }

    /// The next `n` keys of the realm, by id. The caller has been authorized for ListKeys.
    pub fn keys_after(&self, after: Option<KeyId>, n: usize) -> Vec<Arc<KeyEntry>> {
        self.kms.store.view().keys_after(&self.realm().region, after, n)
    }

    /// The next `n` aliases of the realm, or of one key, by name. The caller has been authorized for ListAliases.
    pub fn aliases_after(&self, target: Option<KeyId>, after: Option<&str>, n: usize) -> Vec<Arc<Alias>> {
        self.kms.store.view().aliases_after(&self.realm().region, target, after, n)
    }
}

/// The answer where a key was there a moment ago.
pub(super) fn gone(key: &Authorized) -> KmsError {
    no_such_key(key.arn())
}

fn too_many_aliases(key: &Authorized) -> KmsError {
    let text = format!("{} has {MAX_ALIASES_PER_KEY} aliases, which is as many as a key can have.", key.arn());
    KmsError::new(Code::LimitExceededException, text)
}
