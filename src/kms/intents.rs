//! Objects on HSMs, from the intent to make one to its destruction: an object is meant in the store before it is made, so that
//! one whose key was never stored can be told from one that is somebody else's, and destroyed.
//!
//! What was made for a key is not destroyed while the store cannot say whether the key has it: the intent has the task look
//! later.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::KmsError,
    failure,
    hsm::{Hsm, Kind, command::Place},
    identity::Asker,
    key::{
        Key,
        material::{Keeping, Material, MaterialId},
    },
    kms::{KeyStoreKind, Kms, keys::random},
    store::Intent,
};

impl Kms {
    /// Where the key's material goes. An object on an HSM is meant before it is made, so that one whose key was never
    /// stored can be told from one that is somebody else's.
    pub(super) async fn place(&self, asker: Asker, key: &Key) -> Result<Place, KmsError> {
        // What an HSM does not wrap stays in it, whatever the key store is; and so does what is in a custom one.
        let wrapped = self.settings.keeping == KeyStoreKind::Wrapped && key.custom_key_store().is_none();
        if wrapped && self.hsm.wraps(key.spec(), key.usage()) {
            return Ok(Place::Wrapped);
        }
        let cka_id = random()?;
        let made = self.running().await?;
        let region = key.region().to_owned();
        let key_store = key.custom_key_store().cloned();
        let intent = Intent { region, key: key.id(), spec: key.spec(), cka_id, key_store, made };
        self.store.intend(asker, &intent).await.map_err(failure::store)?;
        Ok(Place::Token { cka_id })
    }

    /// Intents that are older than `age`. Those about a custom key store wait until its HSM can be reached.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn intents_older_than(&self, age: Duration) -> Result<Vec<Intent>, KmsError> {
        let time = self.running().await?.minus(age);
        let intents = self.store.intents_before(time).await.map_err(failure::store)?;
        Ok(intents.into_iter().filter(|intent| self.reaches(intent.key_store.as_ref())).collect())
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
        self.destroy(&self.hsm_in(intent.key_store.as_ref())?, Arc::new(material)).await?;
        self.store.forget_intent(intent).await.map_err(failure::store)
    }

    /// Destroys material: an object on `hsm`, or the handles of what is wrapped. What is not there any more is destroyed.
    pub(super) async fn destroy(&self, hsm: &Hsm, material: Arc<Material>) -> Result<(), KmsError> {
        let deadline = Instant::now() + self.settings.generation_deadline;
        match hsm.destroy(&material, deadline).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind == Kind::KeyMissing => Ok(()),
            Err(error) => Err(failure::hsm(error)),
        }
    }

    /// Destroys material that no key has. If that fails, its intent has the task try again.
    pub(super) async fn undo(&self, hsm: &Hsm, material: Arc<Material>) {
        let deadline = Instant::now() + self.settings.generation_deadline;
        let _ = hsm.destroy(&material, deadline).await;
    }
}
