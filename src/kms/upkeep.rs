//! What background tasks do with store and HSM.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Moment,
    error::KmsError,
    failure,
    hsm::{Command, Kind},
    key::{
        Key,
        material::{Keeping, Material, MaterialId},
    },
    kms::{Kms, admin},
    store::Intent,
};

impl Kms {
    /// Brings the view up to date; answers how many changes there were.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn follow_store(&self) -> Result<usize, KmsError> {
        self.store.follow().await.map_err(failure::store)
    }

    /// Founds the deployment, unless it is founded.
    ///
    /// # Errors
    /// If the store is another account's; else as HSM and store answer.
    pub async fn found(&self) -> Result<(), KmsError> {
        if self.vault.is_furnished() {
            return Ok(());
        }
        admin::found(&self.store, &self.hsm, &self.vault, &self.settings.account, self.now()).await
    }

    /// Keys that are to be deleted at this moment.
    pub fn keys_due_for_deletion(&self, moment: Moment, n: usize) -> Vec<Key> {
        self.store.view().due_for_deletion(moment, n).iter().map(|entry| entry.key.clone()).collect()
    }

    /// Deletes a key that is due: its materials in the HSM, then the key, its aliases and wrapped materials.
    ///
    /// # Errors
    /// As HSM and store answer; the key stays pending deletion then, and unusable.
    pub async fn delete_key(&self, key: &Key, moment: Moment) -> Result<(), KmsError> {
        let view = self.store.view();
        let others =
            key.multi_region.iter().flat_map(|family| family.regions()).filter(|region| **region != key.region);
        let relatives: Vec<_> = others.filter_map(|region| view.key(region, key.id)).collect();
        let is_shared = |material: &Material| relatives.iter().any(|entry| entry.key.material(material.id).is_some());
        for material in key.materials.iter().filter(|material| !is_shared(material)) {
            self.destroy(Arc::clone(material)).await?;
        }
        self.store.delete_key(&key.region, key.id, moment).await.map_err(failure::store)
    }

    /// Intents that are older than `age`.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn intents_older_than(&self, age: Duration) -> Result<Vec<Intent>, KmsError> {
        let time = self.running().await?.minus(age);
        self.store.intents_before(time).await.map_err(failure::store)
    }

    /// Clears up after an abandoned intent: what it may have led to is destroyed, unless a key names it after all.
    ///
    /// # Errors
    /// As HSM and store answer.
    pub async fn clear(&self, intent: &Intent) -> Result<(), KmsError> {
        if self.store.view().family(intent.key).iter().any(|entry| entry.key.names_object(&intent.cka_id)) {
            return self.store.forget_intent(intent).await.map_err(failure::store);
        }
        self.abandon(intent).await?;
        tracing::info!(key = %intent.key, "an object without a key was destroyed on the HSM");
        Ok(())
    }

    /// Takes out of every key what is not valid any more; answers how many materials that were.
    ///
    /// # Errors
    /// The first that HSM or store answer; the other materials are taken out all the same.
    pub async fn expire_materials(&self, moment: Moment) -> Result<usize, KmsError> {
        let mut outcomes = Vec::new();
        for entry in self.store.view().expired(moment) {
            for name in entry.key.expired(moment) {
                let still = |key: &Key| key.expired(moment).any(|expired| expired == name);
                outcomes.push(self.remove_material(&entry.key, name, still).await.map(usize::from));
            }
        }
        outcomes.into_iter().sum()
    }

    /// Destroys the object that `intent` may have led to, and forgets the intent.
    ///
    /// # Errors
    /// As HSM and store answer.
    pub async fn abandon(&self, intent: &Intent) -> Result<(), KmsError> {
        let usage = intent.spec.usages().first().copied();
        let usage = usage.ok_or_else(|| KmsError::internal("a key spec without a usage"))?;
        let material = Material {
            id: MaterialId([0; 32]),
            spec: intent.spec,
            usage,
            keeping: Keeping::Token { cka_id: intent.cka_id.to_vec(), member: None },
            public_key: None,
        };
        self.destroy(Arc::new(material)).await?;
        self.store.forget_intent(intent).await.map_err(failure::store)
    }

    /// Destroys material: an object on an HSM, or the handles of what is wrapped. What is not there any more is destroyed.
    pub(super) async fn destroy(&self, material: Arc<Material>) -> Result<(), KmsError> {
        let deadline = Instant::now() + self.settings.generation_deadline;
        match self.hsm.call(Command::Destroy { material }, deadline).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::KeyMissing => Ok(()),
            Err(error) => Err(failure::hsm(error)),
        }
    }
}
