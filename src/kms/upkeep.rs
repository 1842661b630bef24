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
    hsm::{Hsm, Kind},
    identity::Asker,
    key::{
        Key,
        material::{Keeping, Material, MaterialId},
        tombstone::Tombstone,
    },
    kms::{Kms, Settings, admin},
    store::{Actor, Intent, NewRecord},
};

/// What the service does to a key of its own accord.
pub(super) struct ByItself {
    event_name: &'static str,
    region: String,
    arn: String,
    response: Value,
    details: Value,
}

/// A change that the service is about to make of its own accord, and what is written down of it.
pub(super) struct ActByItself<'a> {
    kms: &'a Kms,
    event_id: Uuid,
    event: ByItself,
}

impl Actor for ActByItself<'_> {
    fn asker(&self) -> Asker {
        Asker::SERVICE
    }

    fn record(&self) -> Result<Option<NewRecord>, serde_json::Error> {
        let ByItself { event_name, region, arn, response, details } = &self.event;
        let (event_id, time, account) = (self.event_id, self.kms.now(), self.kms.settings.account.as_str());
        let event = ServiceEvent { event_id, time, event_name, region, key: arn, account, response, details };
        Ok(Some(self.kms.new_record(event_id, event.line()?)))
    }
}

impl Kms {
    /// Brings the view up to date; answers how many changes there were.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn follow_store(&self) -> Result<usize, KmsError> {
        self.store.follow().await.map_err(failure::store)
    }

    /// Whether the audit trail can be written.
    pub fn writes_down(&self) -> bool {
        self.trail.trouble().is_none()
    }

    /// Opens the audit trail's file anew, after a rotation.
    ///
    /// # Errors
    /// If the file cannot be opened; the trail goes on in the old one.
    pub fn reopen_trail(&self) -> std::io::Result<()> {
        self.trail.reopen()
    }

    /// Has the audit trail go on in a new file if its file was renamed or removed; answers how often that was so.
    ///
    /// # Errors
    /// None: that it cannot be done is told once, and stands in what [`Self::warning`] says as long as it lasts.
    pub async fn follow_trail(&self) -> Result<usize, KmsError> {
        let trail = Arc::clone(&self.trail);
        let followed = tokio::task::spawn_blocking(move || trail.follow_name()).await.map_err(KmsError::internal)?;
        let (count, lost) = match followed {
            Ok(has_moved) => (usize::from(has_moved), None),
            Err(error) => (0, Some(error.to_string())),
        };
        if count > 0 {
            tracing::warn!(
                trail = self.trail.name(),
                "the audit trail's file was renamed or removed; it goes on in a new one"
            );
        }
        self.readiness.note_lost_trail(&self.trail.name(), lost);
        Ok(count)
    }

    /// Founds the deployment, unless it is founded.
    ///
    /// # Errors
    /// If the store is another account's; else as HSM and store answer.
    pub async fn found(&self) -> Result<(), KmsError> {
        if self.vault.has_material() {
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
        let realm = self.realm(key.region());
        let bury = |key: &Key, relatives: &[&Key]| {
            key.is_due_for_deletion(moment).then(|| Tombstone::of(key, relatives, &realm, moment.now))
        };
        let buried = self.store.delete_key(key.region(), key.id(), moment, bury).await.map_err(failure::store)?;
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
        let (event_name, region, arn) = ("DeleteKey", tombstone.region.clone(), tombstone.arn.clone());
        let event = ByItself { event_name, region, arn, response, details: Value::Null };
        let act = self.by_itself(event);
        self.store.finish_tombstone(&act, tombstone, self.now()).await.map_err(failure::store)?;
        self.deliver_records().await.map(drop)
    }

    /// A change that the service is about to make of its own accord.
    pub(super) fn by_itself(&self, event: ByItself) -> ActByItself<'_> {
        ActByItself { kms: self, event_id: Uuid::new_v4(), event }
    }

    pub(super) fn event_about(&self, key: &Key, event_name: &'static str, details: Value) -> ByItself {
        let (region, arn) = (key.region().to_owned(), key.arn(&self.realm(key.region())));
        ByItself { event_name, region, arn, response: Value::Null, details }
    }

    pub(super) fn realm(&self, region: &str) -> Realm {
        let Settings { partition, account, .. } = &self.settings;
        Realm { partition: partition.clone(), account: account.clone(), region: region.to_owned() }
    }

    /// Has the store keep nothing of what was deleted: not that it ever was, after some time, and no byte of it in its files.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn scrub_store(&self) -> Result<(), KmsError> {
        self.store.prune_feed(self.running().await?).await.map_err(failure::store)?;
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
        let still = |key: &Key| Ok(key.expired(moment).any(|expired| expired == name));
        let details = json!({"keyId": key.id(), "keyMaterialId": name});
        let act = self.by_itself(self.event_about(key, "DeleteExpiredKeyMaterial", details));
        self.remove_material(&act, key, name, still).await.map(usize::from)
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
}
