//! Rotation: a new material becomes current, and the old ones stay for what was encrypted under them (AWS KMS: "Rotate AWS KMS
//! keys"). It is made at once, so nobody ever finds one under way.
//!
//! So OnDemandRotationStartDate is never there. A caller that encrypts finds out that a material has been used for half of what
//! GCM allows, and the next sweep rotates the key. A rotation makes material first and adds it to the key if the cause still
//! holds.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use serde_json::json;

use crate::{
    access::Authorized,
    action::Action,
    clock::Moment,
    error::KmsError,
    failure,
    identity::Asker,
    key::{
        Key, Origin,
        generation::MaterialState,
        material::{Material, MaterialId},
        multi_region::Family,
        reference::KeyId,
        rotation::RotationCause,
        state::Demand,
    },
    kms::{Kms, call_change::CallChange, cx::Cx},
    store::{Actor, ChangeError},
};

/// Keys whose current material is worn, until a task gives them another.
#[derive(Default)]
pub struct Worn(Mutex<BTreeSet<(String, KeyId, MaterialId)>>);

impl Worn {
    /// Notes that the current material of a key is worn, if it is one that gets another.
    pub fn note(&self, key: &Key, material: MaterialId) {
        if key.origin() == Origin::AwsKms {
            self.lock().insert((key.region().to_owned(), key.id(), material));
        }
    }

    fn take(&self) -> BTreeSet<(String, KeyId, MaterialId)> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(String, KeyId, MaterialId)>> {
        self.0.lock()
    }
}

impl Cx<'_> {
    /// Rotates the key that `may` authorizes now: to new material, or to that which was imported for it.
    ///
    /// # Errors
    /// Those of `may`; `LimitExceededException`, `ConflictException`, `KMSInvalidStateException` if no imported material waits; else as HSM and
    /// store answer.
    pub async fn rotate_on_demand(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
    ) -> Result<(), KmsError> {
        let key = may(self)?;
        let now = self.now();
        key.demand_action(&[Action::RotateKeyOnDemand])?;
        key.key().demand_rotation_on_demand(now, key.arn())?;
        if key.key().origin() == Origin::External {
            let rotate = |own: &mut Key, relatives: &mut Family| own.rotate_to_imported(relatives, now, key.arn());
            return self.change_family(&may, Demand::Rotate, rotate).await.map(drop);
        }
        let act = CallChange::of(self);
        let material = self.kms.next_material(self.asker(), key.key()).await?;
        let check = |stored: &Key| {
            act.decide(may)?;
            stored.state().check(Demand::Rotate, key.arn())?;
            stored.demand_rotation_on_demand(now, key.arn())
        };
        if self.kms.rotate(&act, key.key(), RotationCause::OnDemand, &material, check).await? {
            act.conclude();
        }
        Ok(())
    }

    /// The state of a material of the key: one that waits for rotation may wait for its like in other regions before.
    pub fn material_state(&self, key: &Key, material: MaterialId) -> MaterialState {
        let state = key.material_state(material);
        let view = self.kms.store.view();
        let regions = key.multi_region().into_iter().flat_map(|family| family.regions());
        let mut relatives = regions.filter_map(|region| view.key(region, key.id()));
        match state {
            MaterialState::PendingRotation if relatives.any(|entry| !entry.key.at(self.now()).has(material)) => {
                MaterialState::PendingMultiRegionImportAndRotation
            }
            state => state,
        }
    }
}

impl Kms {
    /// Rotates every key whose material is worn or, if the clock can be believed, whose time has come; answers how many.
    ///
    /// # Errors
    /// As HSM and store answer; the keys after the one that failed are next.
    pub async fn rotate_due(&self, moment: Option<Moment>) -> Result<usize, KmsError> {
        let mut due: Vec<(Key, RotationCause)> = Vec::new();
        for (region, id, material) in self.worn.take() {
            let entry = self.store.view().key(&region, id);
            due.extend(entry.map(|entry| (entry.key.clone(), RotationCause::WornOut(material))));
        }
        let scheduled = moment.map(|moment| self.store.view().due_for_rotation(moment.now)).unwrap_or_default();
        due.extend(scheduled.iter().map(|entry| (entry.key.clone(), RotationCause::Due)));
        let mut outcomes = Vec::new();
        for (key, cause) in &due {
            outcomes.push(self.rotate_by_itself(key, *cause).await);
        }
        outcomes.into_iter().sum()
    }

    async fn rotate_by_itself(&self, key: &Key, cause: RotationCause) -> Result<usize, KmsError> {
        let material = self.next_material(Asker::SERVICE, key).await?;
        let details = json!({
            "keyId": key.id(), "rotationType": cause.rotation_type(),
            "previousKeyMaterialId": key.current_material_id(), "currentKeyMaterialId": material.id,
        });
        let act = self.own_change(self.change_of_key(key, "RotateKey", details));
        let is_rotated = self.rotate(&act, key, cause, &material, |_| Ok(())).await?;
        if is_rotated {
            tracing::info!(key = %key.id(), region = key.region(), occasion = cause.as_str(), "a key was rotated");
        }
        Ok(usize::from(is_rotated))
    }

    /// New material for a key.
    async fn next_material(&self, asker: Asker, key: &Key) -> Result<Arc<Material>, KmsError> {
        let hsm = self.hsm_of(key)?;
        let place = self.place(asker, key).await?;
        Ok(Arc::new(self.generate(asker, &hsm, key.spec(), key.usage(), place).await?))
    }

    /// Makes `material` the current one of a key and its relatives, if there still is cause to and `check` has nothing against it;
    /// whether that was so. If not, it is destroyed.
    async fn rotate(
        &self,
        actor: &impl Actor,
        key: &Key,
        cause: RotationCause,
        material: &Arc<Material>,
        check: impl FnOnce(&Key) -> Result<(), KmsError>,
    ) -> Result<bool, KmsError> {
        let now = self.now();
        let hsm = self.hsm_of(key)?;
        let changed = self.store.change_family(actor, key.region(), key.id(), |own, relatives| {
            check(own)?;
            own.rotate(relatives, material, cause, now);
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
}
