//! Rotation: a new material becomes current, and the old ones stay for what was encrypted under them (AWS KMS: "Rotate AWS KMS
//! keys"). It is made at once, so nobody ever finds one under way.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::json;

use crate::{
    access::Authorized,
    clock::{Moment, Timestamp},
    error::{Code, KmsError},
    failure,
    hsm::Hsm,
    identity::Asker,
    key::{
        Key, Origin,
        material::{Material, MaterialId},
        reference::KeyId,
        rotation::{MaterialState, Rotation, RotationType},
        state::Demand,
    },
    kms::{Kms, act::Act, cx::Cx},
    store::{Actor, ChangeError, Family},
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

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(String, KeyId, MaterialId)>> {
        self.0.lock()
    }
}

impl Occasion {
    fn kind(self) -> RotationType {
        match self {
            Self::Due | Self::Worn(_) => RotationType::Automatic,
            Self::Wish => RotationType::OnDemand,
        }
    }

    /// For the log.
    fn word(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Worn(_) => "worn",
            Self::Wish => "wished for",
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
    /// Rotates the key that `may` authorizes now: to new material, or to that which was imported for it.
    ///
    /// # Errors
    /// What `may` refuses; `LimitExceededException`, `ConflictException`, `KMSInvalidStateException` if no imported material waits; else as HSM and
    /// store answer.
    pub async fn rotate_on_demand(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
    ) -> Result<(), KmsError> {
        let (key, now) = (may(self)?, self.now());
        may_rotate(key.key(), now, key.arn())?;
        if key.key().origin == Origin::External {
            let rotation = Rotation { date: now, kind: RotationType::OnDemand };
            let to_pending = |own: &mut Key, relatives: &mut Family| to_pending(own, relatives, rotation, key.arn());
            return self.change_family(&may, Demand::Rotate, to_pending).await.map(drop);
        }
        let (act, material) = (Act::of(self), self.kms.next_material(self.asker(), key.key()).await?);
        let check = |stored: &Key| {
            act.decide(may)?;
            stored.state.check(Demand::Rotate, key.arn())?;
            may_rotate(stored, now, key.arn())
        };
        if self.kms.rotate(&act, key.key(), Occasion::Wish, &material, check).await? {
            act.conclude();
        }
        Ok(())
    }

    /// What a material is to the key: one that waits for rotation may wait for its like in other regions before.
    pub fn material_state(&self, key: &Key, material: MaterialId) -> MaterialState {
        let state = key.material_state(material);
        let view = self.kms.store.view();
        let regions = key.multi_region.iter().flat_map(|family| family.regions());
        let mut relatives = regions.filter_map(|region| view.key(region, key.id));
        match state {
            MaterialState::PendingRotation if relatives.any(|entry| !entry.key.at(self.now()).has(material)) => {
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

fn to_pending(own: &mut Key, relatives: &mut Family, rotation: Rotation, arn: &str) -> Result<(), KmsError> {
    let now = rotation.date;
    may_rotate(own, now, arn)?;
    let waits = own.at(now).pending.as_ref().map(|pending| pending.id);
    let is_everywhere = |id| relatives.values().all(|relative| relative.at(now).has(id));
    if !waits.is_some_and(is_everywhere) {
        let text = format!("No available key material pending rotation for the key: {arn}.");
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
        let material = self.next_material(Asker::SERVICE, key).await?;
        let details = json!({
            "keyId": key.id, "rotationType": occasion.kind(),
            "previousKeyMaterialId": key.current_material_id(), "currentKeyMaterialId": material.id,
        });
        let act = self.by_itself(self.event_about(key, "RotateKey", details));
        let is_rotated = self.rotate(&act, key, occasion, &material, |_| Ok(())).await?;
        if is_rotated {
            tracing::info!(key = %key.id, region = key.region, occasion = occasion.word(), "a key was rotated");
        }
        Ok(usize::from(is_rotated))
    }

    /// New material for a key.
    async fn next_material(&self, asker: Asker, key: &Key) -> Result<Arc<Material>, KmsError> {
        let (hsm, place) = (self.hsm_of(key)?, self.place(asker, key).await?);
        Ok(Arc::new(self.generate(asker, &hsm, key.spec, key.usage, place).await?))
    }

    /// Makes `material` the current one of a key and its relatives, if the occasion lasts and `check` has nothing against it;
    /// whether that was so. If not, it is destroyed.
    async fn rotate(
        &self,
        actor: &impl Actor,
        key: &Key,
        occasion: Occasion,
        material: &Arc<Material>,
        check: impl FnOnce(&Key) -> Result<(), KmsError>,
    ) -> Result<bool, KmsError> {
        let (now, hsm) = (self.now(), self.hsm_of(key)?);
        let rotation = Rotation { date: now, kind: occasion.kind() };
        let changed = self.store.change_family(actor, &key.region, key.id, |family| {
            let own = family.get(&key.region);
            let lasts = own.is_some_and(|own| occasion.lasts(own, now));
            own.map_or(Ok(()), check)?;
            family.values_mut().filter(|_| lasts).for_each(|one| one.rotate(material, rotation));
            Ok::<(), KmsError>(())
        });
        let refused = match changed.await {
            Ok(family) if family.values().any(|one| one.has(material.id)) => return Ok(true),
            Ok(_) | Err(ChangeError::NotFound) => None,
            Err(ChangeError::Refused(error)) => Some(error),
            // It may be the key's all the same. The intent has the task look, when it is known.
            Err(ChangeError::Store(error)) => return Err(failure::store(error)),
        };
        self.undo(&hsm, Arc::clone(material)).await;
        refused.map_or(Ok(false), Err)
    }

    /// Destroys material that no key has. If that fails, its intent has the task try again.
    pub(super) async fn undo(&self, hsm: &Hsm, material: Arc<Material>) {
        let deadline = Instant::now() + self.settings.generation_deadline;
        let _ = hsm.destroy(&material, deadline).await;
    }
}
