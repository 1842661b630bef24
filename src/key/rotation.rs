//! Rotation: a new material becomes current, and the old ones stay for what was encrypted under them (AWS KMS: "Rotate AWS KMS
//! keys").

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Key, Origin,
    generation::Generation,
    material::{Material, MaterialId},
    multi_region::Family,
    spec::KeySpec,
    state::KeyState,
};
use crate::{
    aws_names::aws_enum,
    clock::{self, Timestamp},
    error::{Code, KmsError},
};

/// How often a key can be rotated on demand (AWS KMS: "Resource quotas").
const MOST_ON_DEMAND: usize = 25;

/// RotationPeriodInDays when it is not given.
pub const DEFAULT_PERIOD_DAYS: u32 = 365;

/// So near to an automatic rotation none is made on demand (AWS KMS: RotateKeyOnDemand).
const NEAR: Duration = Duration::from_secs(20 * 60);

aws_enum! {
    /// RotationType.
    RotationType {
        Automatic = "AUTOMATIC",
        OnDemand = "ON_DEMAND",
    }
}

/// Why a key gets a new material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationCause {
    /// The date of its schedule has come.
    Due,
    /// This material, if it is still current, has been used for as many encryptions as is wise.
    WornOut(MaterialId),
    /// RotateKeyOnDemand.
    OnDemand,
}

/// A rotation that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// When.
    pub date: Timestamp,
    /// At whose wish.
    pub kind: RotationType,
}

/// Automatic rotation, while it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// RotationPeriodInDays.
    pub period_days: u32,
    /// When it was switched on or last did its work.
    pub counted_from: Timestamp,
}

impl Schedule {
    /// NextRotationDate.
    pub fn next(&self) -> Timestamp {
        self.counted_from.plus(clock::days(self.period_days.into()))
    }

    /// True if the next rotation is so near that none is made on demand.
    fn is_near(&self, now: Timestamp) -> bool {
        self.next() <= now.plus(NEAR)
    }
}

impl RotationCause {
    /// RotationType.
    pub fn rotation_type(self) -> RotationType {
        match self {
            Self::Due | Self::WornOut(_) => RotationType::Automatic,
            Self::OnDemand => RotationType::OnDemand,
        }
    }

    /// The word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::WornOut(_) => "worn",
            Self::OnDemand => "wished for",
        }
    }
}

/// Automatic rotation.
impl Key {
    /// Automatic rotation, if it is on.
    pub fn schedule(&self) -> Option<Schedule> {
        self.schedule
    }

    /// EnableKeyRotation, for its relatives too. Another period goes on from where the last one began.
    pub fn enable_rotation(&mut self, relatives: &mut Family, period_days: u32, now: Timestamp) {
        let counted_from = self.schedule.map_or(now, |schedule| schedule.counted_from);
        self.set_schedule(relatives, Some(Schedule { period_days, counted_from }));
    }

    /// DisableKeyRotation, for its relatives too.
    pub fn disable_rotation(&mut self, relatives: &mut Family) {
        self.set_schedule(relatives, None);
    }

    fn set_schedule(&mut self, relatives: &mut Family, schedule: Option<Schedule>) {
        std::iter::once(self).chain(relatives.values_mut()).for_each(|key| key.schedule = schedule);
    }

    /// True if the time of its next automatic rotation has come. No rotation is made while it cannot be used.
    pub fn is_due_for_rotation(&self, now: Timestamp) -> bool {
        let is_due = self.schedule.is_some_and(|schedule| schedule.next() <= now);
        is_due && self.state == KeyState::Enabled && self.is_primary()
    }
}

/// Rotation on demand.
impl Key {
    /// True if its material can be rotated at all: symmetric, and made here or imported.
    pub fn is_rotatable(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault && matches!(self.origin, Origin::AwsKms | Origin::External)
    }

    /// Refuses a rotation on demand of a key that had as many as it can have, or that is about to be rotated.
    ///
    /// # Errors
    /// `LimitExceededException`, `ConflictException`.
    pub fn demand_rotation_on_demand(&self, now: Timestamp, arn: &str) -> Result<(), KmsError> {
        if self.has_rotated_enough() {
            let text = format!(
                "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
                 performed for this key: {arn}"
            );
            return Err(KmsError::new(Code::LimitExceededException, text));
        }
        if self.schedule.is_some_and(|schedule| schedule.is_near(now)) {
            let text = format!("An automatic rotation of {arn} is under way or due in less than 20 minutes.");
            return Err(KmsError::new(Code::ConflictException, text));
        }
        Ok(())
    }

    fn has_rotated_enough(&self) -> bool {
        let on_demand = |generation: &&Generation| {
            generation.rotation.is_some_and(|rotation| rotation.kind == RotationType::OnDemand)
        };
        self.generations.iter().filter(on_demand).count() >= MOST_ON_DEMAND
    }

    /// RotateKeyOnDemand of imported material, for its relatives too: that which waits for it becomes current.
    ///
    /// # Errors
    /// As [`Self::demand_rotation_on_demand`]; `KMSInvalidStateException` if none waits, or not in every region.
    pub fn rotate_to_imported(&mut self, relatives: &mut Family, now: Timestamp, arn: &str) -> Result<(), KmsError> {
        self.demand_rotation_on_demand(now, arn)?;
        let pending = self.at(now).pending.as_ref().map(|pending| pending.id);
        let is_everywhere = |id| relatives.values().all(|relative| relative.at(now).has(id));
        if !pending.is_some_and(is_everywhere) {
            let text = format!("No available key material pending rotation for the key: {arn}.");
            return Err(KmsError::new(Code::KMSInvalidStateException, text));
        }
        let rotation = Rotation { date: now, kind: RotationType::OnDemand };
        for key in std::iter::once(self).chain(relatives.values_mut()) {
            if let Some(pending) = key.pending.take() {
                key.make_current(*pending, rotation);
            }
        }
        Ok(())
    }
}

/// New material of the HSM's.
impl Key {
    /// Makes new material current, for its relatives too, if there is still cause to; true if that was done.
    pub fn rotate(
        &mut self,
        relatives: &mut Family,
        material: &Arc<Material>,
        cause: RotationCause,
        now: Timestamp,
    ) -> bool {
        if !self.has_cause(cause, now) {
            return false;
        }
        let rotation = Rotation { date: now, kind: cause.rotation_type() };
        for key in std::iter::once(self).chain(relatives.values_mut()) {
            key.materials.push(Arc::clone(material));
            key.make_current(Generation::of(material.id), rotation);
        }
        true
    }

    fn has_cause(&self, cause: RotationCause, now: Timestamp) -> bool {
        match cause {
            RotationCause::Due => self.is_due_for_rotation(now),
            RotationCause::WornOut(id) => self.origin == Origin::AwsKms && self.current_material_id() == Some(id),
            RotationCause::OnDemand => true,
        }
    }

    fn make_current(&mut self, generation: Generation, rotation: Rotation) {
        if self.generations.is_empty() {
            let first = self.materials.first().filter(|first| first.id != generation.id);
            self.generations.extend(first.map(|first| Generation::of(first.id)));
        }
        self.generations.push(Generation { rotation: Some(rotation), ..generation });
        if let (RotationType::Automatic, Some(schedule)) = (rotation.kind, &mut self.schedule) {
            schedule.counted_from = rotation.date;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{fixtures::*, importing::ImportOptions};

    fn refusal(refused: Result<(), KmsError>) -> Option<Code> {
        refused.err().map(|error| error.code)
    }

    #[test]
    fn another_period_goes_on_from_where_the_last_one_began() {
        let (mut key, mut relatives) = primary_and_replica(Origin::AwsKms);
        key.enable_rotation(&mut relatives, 100, day(1).now);
        key.enable_rotation(&mut relatives, 200, day(9).now);
        let schedule = Some(Schedule { period_days: 200, counted_from: day(1).now });
        assert_eq!((key.schedule(), relatives[ELSEWHERE].schedule()), (schedule, schedule));
        key.disable_rotation(&mut relatives);
        assert_eq!((key.schedule(), relatives[ELSEWHERE].schedule()), (None, None));
    }

    #[test]
    fn a_key_that_is_due_gets_new_material_once_per_period() {
        let (mut key, mut relatives) = primary_and_replica(Origin::AwsKms);
        key.enable_rotation(&mut relatives, 100, day(0).now);
        assert!(!key.rotate(&mut relatives, &material(2), RotationCause::Due, day(99).now));
        assert!(key.rotate(&mut relatives, &material(2), RotationCause::Due, day(100).now));
        assert!(!key.rotate(&mut relatives, &material(3), RotationCause::Due, day(101).now));
        assert_eq!(key.schedule().map(|schedule| schedule.next()), Some(day(200).now));
        for key in [&key, &relatives[ELSEWHERE]] {
            assert_eq!(key.current_material_id(), Some(MaterialId([2; 32])));
            assert!(key.has(MaterialId([1; 32])));
        }
    }

    #[test]
    fn only_an_enabled_primary_key_is_due() {
        let (mut key, mut relatives) = primary_and_replica(Origin::AwsKms);
        key.enable_rotation(&mut relatives, 100, day(0).now);
        assert!(key.is_due_for_rotation(day(100).now) && !relatives[ELSEWHERE].is_due_for_rotation(day(100).now));
        key.disable();
        assert!(!key.is_due_for_rotation(day(100).now));
    }

    #[test]
    fn worn_out_material_is_replaced_while_it_is_current() {
        let mut key = key_of_kms();
        let cause = RotationCause::WornOut(MaterialId([1; 32]));
        assert!(key.rotate(&mut Family::new(), &material(2), cause, day(1).now));
        assert!(!key.rotate(&mut Family::new(), &material(3), cause, day(1).now));
        assert!(!imported_key().rotate(&mut Family::new(), &material(2), cause, day(1).now));
    }

    #[test]
    fn a_key_of_a_version_that_did_not_rotate_keeps_its_first_material() {
        let mut key = Key { generations: Vec::new(), ..key_of_kms() };
        assert!(key.rotate(&mut Family::new(), &material(2), RotationCause::OnDemand, day(1).now));
        let ids: Vec<_> = key.generations().iter().map(|generation| generation.id).collect();
        assert_eq!(ids, [MaterialId([1; 32]), MaterialId([2; 32])]);
    }

    #[test]
    fn rotations_on_demand_have_a_limit_and_keep_away_from_automatic_ones() {
        let mut key = key_of_kms();
        for n in 2..27 {
            assert_eq!(refusal(key.demand_rotation_on_demand(day(1).now, ARN)), None);
            key.rotate(&mut Family::new(), &material(n), RotationCause::OnDemand, day(1).now);
        }
        assert_eq!(refusal(key.demand_rotation_on_demand(day(1).now, ARN)), Some(Code::LimitExceededException));
        let mut key = key_of_kms();
        key.enable_rotation(&mut Family::new(), 100, day(0).now);
        let near = |ms| Timestamp::from_ms(day(100).now.since_ms(day(0).now) - 20 * 60 * 1000 + ms);
        assert_eq!(refusal(key.demand_rotation_on_demand(near(-1), ARN)), None);
        assert_eq!(refusal(key.demand_rotation_on_demand(near(0), ARN)), Some(Code::ConflictException));
    }

    #[test]
    fn imported_material_becomes_current_when_it_is_in_every_region() {
        let (mut key, mut relatives) = primary_and_replica(Origin::External);
        let rotate =
            |key: &mut Key, relatives: &mut Family| refusal(key.rotate_to_imported(relatives, day(1).now, ARN));
        assert_eq!(rotate(&mut key, &mut relatives), Some(Code::KMSInvalidStateException));
        let options = ImportOptions { is_new: Some(true), ..no_options() };
        key.import(&mut relatives, &material(2), &options, day(0).now, ARN).expect("imported");
        assert_eq!(rotate(&mut key, &mut relatives), Some(Code::KMSInvalidStateException));
        let mut replica = relatives.remove(ELSEWHERE).expect("a replica");
        let options = ImportOptions { is_new: Some(false), ..no_options() };
        replica.import(&mut Family::new(), &material(2), &options, day(0).now, ARN).expect("imported");
        relatives.insert(ELSEWHERE.to_owned(), replica);
        assert_eq!(rotate(&mut key, &mut relatives), None);
        for key in [&key, &relatives[ELSEWHERE]] {
            assert_eq!((key.current_material_id(), key.pending()), (Some(MaterialId([2; 32])), None));
        }
    }
}
