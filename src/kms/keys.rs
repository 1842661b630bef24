//! Keys: their creation, and changes of them. Changes take the decision that allows them, which is made in their transaction: see
//! [`CallChange`].

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
        material::{Material, MaterialId},
        multi_region::Family,
        reference::{KeyId, no_such_key},
        spec::{KeySpec, KeyUsage},
        state::Demand,
    },
    kms::{Kms, call_change::CallChange, cx::Cx},
    store::{Actor, ChangeError},
};

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
        let spec = key.spec();
        let usage = key.usage();
        let hsm = self.hsm_of(&key)?;
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
        let act = CallChange::of(self);
        let arn = key.arn(self.realm());
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
        let key = may(self)?;
        let act = CallChange::of(self);
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
        let key = may(self)?;
        let act = CallChange::of(self);
        let region = &self.realm().region;
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

    /// The next `n` keys of the realm, by id. The caller has been authorized for ListKeys.
    pub fn keys_after(&self, after: Option<KeyId>, n: usize) -> Vec<Arc<KeyEntry>> {
        self.kms.store.view().keys_after(&self.realm().region, after, n)
    }
}

/// The answer where a key was there a moment ago.
pub(super) fn gone(key: &Authorized) -> KmsError {
    no_such_key(key.arn())
}
