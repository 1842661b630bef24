//! What background tasks do with store and HSM.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    arn::Realm,
    audit::ServiceEvent,
    clock::Moment,
    error::KmsError,
    failure,
    hsm::{Command, Hsm, Kind},
    key::{
        Key,
        material::{Keeping, Material, MaterialId},
        tombstone::Tombstone,
    },
    kms::{Kms, Settings, admin},
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

    /// Deletes a key, if it is due when that is done, so that it is gone for everybody; whether it was. What HSMs have of it is
    /// left to [`Self::finish_deletion`].
    ///
    /// # Errors
    /// As the store answers; the key stays pending deletion then, and unusable.
    pub async fn delete_key(&self, key: &Key, moment: Moment) -> Result<bool, KmsError> {
        let realm = self.realm(&key.region);
        let bury = |key: &Key, relatives: &[&Key]| {
            key.is_due_for_deletion(moment).then(|| Tombstone::of(key, relatives, &realm, moment.now))
        };
        let buried = self.store.delete_key(&key.region, key.id, moment, bury).await.map_err(failure::store)?;
        Ok(buried.is_some())
    }

    /// Deletions of which something is left to do. Those in a custom key store wait until its HSM can be reached.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn unfinished_deletions(&self) -> Result<Vec<Tombstone>, KmsError> {
        let all = self.store.unfinished_tombstones().await.map_err(failure::store)?;
        Ok(all.into_iter().filter(|tombstone| self.reaches(tombstone.custom_key_store.as_ref())).collect())
    }

    /// Destroys what HSMs have of a key that was deleted, sees that it is gone, and writes that down.
    ///
    /// # Errors
    /// As HSM, audit trail and store answer; it can be done again then, and a second record is better than none.
    pub async fn finish_deletion(&self, tombstone: &Tombstone) -> Result<(), KmsError> {
        for material in &tombstone.remains {
            self.destroy(&self.hsm_in(tombstone.custom_key_store.as_ref())?, Arc::clone(material)).await?;
        }
        let response = json!({"keyId": tombstone.arn});
        self.write_event("DeleteKey", &tombstone.region, &tombstone.arn, &response, &Value::Null).await?;
        self.store.finish_tombstone(tombstone, self.now()).await.map_err(failure::store)
    }

    /// Writes down what the service did to a key of its own accord.
    pub(super) async fn write_event(
        &self,
        event_name: &str,
        region: &str,
        key: &str,
        response: &Value,
        details: &Value,
    ) -> Result<(), KmsError> {
        let (event_id, time, account) = (Uuid::new_v4(), self.now(), self.settings.account.as_str());
        let event = ServiceEvent { event_id, time, event_name, region, key, account, response, details };
        self.trail.record_service(&event).await.map_err(failure::audit)
    }

    pub(super) fn realm(&self, region: &str) -> Realm {
        let Settings { partition, account, .. } = &self.settings;
        Realm { partition: partition.clone(), account: account.clone(), region: region.to_owned() }
    }

    /// Has the store keep nothing of what was deleted.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn scrub_store(&self) -> Result<(), KmsError> {
        self.store.scrub().await.map_err(failure::store)
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

    /// Takes out of every key what is not valid any more; answers how many materials that were.
    ///
    /// # Errors
    /// The first that HSM or store answer; the other materials are taken out all the same.
    pub async fn expire_materials(&self, moment: Moment) -> Result<usize, KmsError> {
        let mut outcomes = Vec::new();
        for entry in self.store.view().expired(moment) {
            for name in entry.key.expired(moment) {
                outcomes.push(self.expire(&entry.key, name, moment).await);
            }
        }
        outcomes.into_iter().sum()
    }

    async fn expire(&self, key: &Key, name: MaterialId, moment: Moment) -> Result<usize, KmsError> {
        let still = |key: &Key| key.expired(moment).any(|expired| expired == name);
        if !self.remove_material(key, name, still).await? {
            return Ok(0);
        }
        let (realm, details) = (self.realm(&key.region), json!({"keyId": key.id, "keyMaterialId": name}));
        let arn = key.arn(&realm);
        self.write_event("DeleteExpiredKeyMaterial", &key.region, &arn, &Value::Null, &details).await?;
        Ok(1)
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
        match hsm.call(Command::Destroy { material }, deadline).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::KeyMissing => Ok(()),
            Err(error) => Err(failure::hsm(error)),
        }
    }
}
