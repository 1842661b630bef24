//! Rotation: a new material becomes current, and the old ones stay for what was encrypted under them (AWS KMS: "Rotate AWS KMS
//! keys"). It is made at once, so nobody ever finds one under way.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    access::Authorized,
    clock::{Moment, Timestamp},
    error::{Code, KmsError},
    failure,
    hsm::{Asker, Command, Hsm},
    key::{
        Key, Origin,
        material::{Material, MaterialId},
        reference::KeyId,
        rotation::{MaterialState, Rotation, RotationType},
        state::Demand,
    },
    kms::{Kms, cx::Cx},
    store::{ChangeError, Family},
};

/// Why a key gets a new material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Its time has come.
    Due,
    /// This material, if it is still current, has been used for as many encryptions as is wise.
    Worn(MaterialId),
    /// Its owner wants it.
    Wish,
}

/// Keys whose current material is worn, until a task gives them another.
#[derive(Default)]
pub struct Worn(Mutex<BTreeSet<(String, KeyId, MaterialId)>>);

impl Worn {
    /// Notes that the current material of a key is worn, if it is one that gets another.
    pub fn note(&self, key: &Key, material: MaterialId) {
        if key.origin == Origin::AwsKms {
            self.lock().insert((key.region.clone(), key.id, material));
        }
    }

    fn take(&self) -> BTreeSet<(String, KeyId, MaterialId)> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, KeyId, MaterialId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occasion {
    fn kind(self) -> RotationType {
        match self {
            Self::Due | Self::Worn(_) => RotationType::Automatic,
            Self::Wish => RotationType::OnDemand,
        }
    }

    /// Whether it still is one.
    fn lasts(self, key: &Key, now: Timestamp) -> bool {
        match self {
            Self::Due => key.is_due_for_rotation(now),
            Self::Worn(material) => key.origin == Origin::AwsKms && key.current_material_id() == Some(material),
            Self::Wish => true,
        }
    }
}

impl Cx<'_> {
    /// Rotates a key now: to new material, or to that which was imported for it.
    ///
    /// # Errors
    /// `LimitExceededException`, `ConflictException`, `KMSInvalidStateException` if no imported material waits; else as HSM and
    /// store answer.
    pub async fn rotate_on_demand(&self, key: &Authorized) -> Result<(), KmsError> {
        let now = self.now();
        may_rotate(key.key(), now, key.arn())?;
        if key.key().origin == Origin::External {
            let rotation = Rotation { date: now, kind: RotationType::OnDemand };
            let to_pending = |own: &mut Key, relatives: &mut Family| to_pending(own, relatives, rotation, key);
            return self.change_family(key, Demand::Rotate, to_pending).await.map(drop);
        }
        self.kms
            .rotate(self.asker(), key.key(), Occasion::Wish, |stored| {
                stored.state.check(Demand::Rotate, key.arn())?;
                may_rotate(stored, now, key.arn())
            })
            .await
            .map(drop)
    }

    /// What a material is to the key: one that waits for rotation may wait for its like in other regions before.
    pub fn material_state(&self, key: &Key, material: MaterialId) -> MaterialState {
        let state = key.material_state(material);
        let view = self.kms.store.view();
        let regions = key.multi_region.iter().flat_map(|family| family.regions());
        let mut relatives = regions.filter_map(|region| view.key(region, key.id));
        match state {
            MaterialState::PendingRotation if relatives.any(|entry| entry.key.material(material).is_none()) => {
                MaterialState::PendingMultiRegionImportAndRotation
            }
            state => state,
        }
    }
}

/// # Errors
/// `LimitExceededException`, `ConflictException`.
fn may_rotate(key: &Key, now: Timestamp, arn: &str) -> Result<(), KmsError> {
    if key.has_rotated_enough() {
        let text = format!(
            "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
             performed for this key: {arn}"
        );
        return Err(KmsError::new(Code::LimitExceededException, text));
    }
    if key.schedule.is_some_and(|schedule| schedule.is_near(now)) {
        let text = format!("An automatic rotation of {arn} is under way or due in less than 20 minutes.");
        return Err(KmsError::new(Code::ConflictException, text));
    }
    Ok(())
}

fn to_pending(own: &mut Key, relatives: &mut Family, rotation: Rotation, key: &Authorized) -> Result<(), KmsError> {
    may_rotate(own, rotation.date, key.arn())?;
    let waits = own.pending.as_ref().map(|pending| pending.id);
    let is_everywhere = |id| relatives.values().all(|relative| relative.material(id).is_some());
    if !waits.is_some_and(is_everywhere) {
        let text = format!("No available key material pending rotation for the key: {}.", key.arn());
        return Err(KmsError::new(Code::KMSInvalidStateException, text));
    }
    for one in std::iter::once(own).chain(relatives.values_mut()) {
        one.rotate_to_pending(rotation);
    }
    Ok(())
}

impl Kms {
    /// Rotates every key whose material is worn or, if the clock can be believed, whose time has come; answers how many.
    ///
    /// # Errors
    /// As HSM and store answer; the keys after the one that failed are next.
    pub async fn rotate_due(&self, moment: Option<Moment>) -> Result<usize, KmsError> {
        let mut occasions: Vec<(Key, Occasion)> = Vec::new();
        for (region, id, material) in self.worn.take() {
            let entry = self.store.view().key(&region, id);
            occasions.extend(entry.map(|entry| (entry.key.clone(), Occasion::Worn(material))));
        }
        let due = moment.map(|moment| self.store.view().due_for_rotation(moment.now)).unwrap_or_default();
        occasions.extend(due.iter().map(|entry| (entry.key.clone(), Occasion::Due)));
        let mut outcomes = Vec::new();
        for (key, occasion) in &occasions {
            outcomes.push(self.rotate_by_itself(key, *occasion).await);
        }
        outcomes.into_iter().sum()
    }

    async fn rotate_by_itself(&self, key: &Key, occasion: Occasion) -> Result<usize, KmsError> {
        let Some(current) = self.rotate(Asker::SERVICE, key, occasion, |_| Ok(())).await? else { return Ok(0) };
        tracing::info!(key = %key.id, region = key.region, ?occasion, "a key was rotated");
        let details = json!({
            "keyId": key.id, "rotationType": occasion.kind(),
            "previousKeyMaterialId": key.current_material_id(), "currentKeyMaterialId": current,
        });
        let arn = key.arn(&self.realm(&key.region));
        self.write_event("RotateKey", &key.region, &arn, &Value::Null, &details).await?;
        Ok(1)
    }

    /// Makes new material for a key and its relatives, if the occasion lasts until it is there and `check` has nothing
    /// against it; answers its name, if so.
    async fn rotate(
        &self,
        asker: Asker,
        key: &Key,
        occasion: Occasion,
        check: impl Fn(&Key) -> Result<(), KmsError>,
    ) -> Result<Option<MaterialId>, KmsError> {
        let (now, hsm) = (self.now(), self.hsm_of(key)?);
        let place = self.place(key).await?;
        let material = Arc::new(self.generate(asker, &hsm, key.spec, key.usage, place).await?);
        let rotation = Rotation { date: now, kind: occasion.kind() };
        let changed = self.store.change_family(&key.region, key.id, |family| {
            let own = family.get(&key.region);
            let lasts = own.is_some_and(|own| occasion.lasts(own, now));
            own.map_or(Ok(()), &check)?;
            family.values_mut().filter(|_| lasts).for_each(|one| one.rotate(&material, rotation));
            Ok::<(), KmsError>(())
        });
        let refused = match changed.await {
            Ok(family) if family.values().any(|one| one.material(material.id).is_some()) => {
                return Ok(Some(material.id));
            }
            Ok(_) | Err(ChangeError::NotFound) => None,
            Err(ChangeError::Refused(error)) => Some(error),
            // It may be the key's all the same. The intent has the task look, when it is known.
            Err(ChangeError::Store(error)) => return Err(failure::store(error)),
        };
        self.undo(&hsm, material).await;
        refused.map_or(Ok(None), Err)
    }

    /// Destroys material that no key has. If that fails, its intent has the task try again.
    async fn undo(&self, hsm: &Hsm, material: Arc<Material>) {
        let deadline = Instant::now() + self.settings.generation_deadline;
        let _ = hsm.call(Command::Destroy { material }, deadline).await;
    }
}
