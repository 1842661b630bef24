//! The deletion of a key, which waits for a window in which it can be cancelled (AWS KMS: "Delete an AWS KMS key").

use serde::{Deserialize, Serialize};

use super::{Key, UNCOUNTED, state::KeyState};
use crate::clock::{self, Moment, Running, Timestamp};

/// The longest that a key waits for its deletion (AWS KMS: ScheduleKeyDeletion).
const LONGEST_WINDOW_DAYS: u16 = 30;

/// The facts of a scheduled deletion beside its date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledDeletion {
    /// How long the deployment must have run.
    after: Running,
    /// The ARN of the principal that asked for it.
    by: String,
}

impl Key {
    /// DeletionDate, while it is pending deletion.
    pub fn deletion_date(&self) -> Option<Timestamp> {
        self.deletion_date
    }

    /// The ARN of the principal that had its deletion scheduled, if that is known.
    pub fn deletion_scheduled_by(&self) -> Option<&str> {
        self.scheduled.as_ref().map(|scheduled| scheduled.by.as_str())
    }

    /// PendingDeletionWindowInDays: how long it waits for its deletion once its last replica is gone, while that is pending.
    pub fn pending_window_days(&self) -> Option<u16> {
        self.pending_window_days
    }

    /// Has it deleted after so many days, as the principal of that ARN wants it. Those of a primary key with replicas begin when
    /// the last of them is gone.
    pub fn schedule_deletion(&mut self, window_days: u16, moment: Moment, by: &str) {
        let due = moment.plus(clock::days(window_days.into()));
        self.scheduled = Some(Box::new(ScheduledDeletion { after: due.running, by: by.to_owned() }));
        let has_replicas = self.multi_region.as_ref().is_some_and(|family| !family.replicas.is_empty());
        if has_replicas && self.is_primary() {
            self.state = KeyState::PendingReplicaDeletion;
            self.pending_window_days = Some(window_days);
        } else {
            self.state = KeyState::PendingDeletion;
            self.pending_window_days = None;
            self.deletion_date = Some(due.now);
        }
    }

    /// CancelKeyDeletion: it is disabled then, whatever it was before, or waits for the material that it lacks.
    pub fn cancel_deletion(&mut self, now: Timestamp) {
        self.state = if self.at(now).lacks_material() { KeyState::PendingImport } else { KeyState::Disabled };
        self.deletion_date = None;
        self.scheduled = None;
        self.pending_window_days = None;
    }

    /// True if it is to be deleted now: the date has come, and as much time has run as it was to wait.
    pub fn is_due_for_deletion(&self, moment: Moment) -> bool {
        let running = self.scheduled.as_ref().map_or(UNCOUNTED, |scheduled| scheduled.after);
        let has_come = |now| Moment { now, running }.has_come(moment);
        self.state == KeyState::PendingDeletion && self.deletion_date.is_some_and(has_come)
    }

    /// Its relative in `region` is gone. A primary key that waited for its last replica to go waits for its own deletion now.
    pub fn lose_relative(&mut self, region: &str, moment: Moment) {
        let Some(family) = &mut self.multi_region else { return };
        family.leave(region);
        if self.state == KeyState::PendingReplicaDeletion && family.replicas.is_empty() {
            let by = self.scheduled.take().map(|scheduled| scheduled.by).unwrap_or_default();
            self.schedule_deletion(self.pending_window_days.unwrap_or(LONGEST_WINDOW_DAYS), moment, &by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Origin, fixtures::*, importing::ImportOptions};

    #[test]
    fn a_key_is_due_when_date_and_running_time_have_come() {
        let mut key = key_of_kms();
        key.schedule_deletion(7, day(1), "ada");
        assert_eq!((key.state(), key.deletion_date()), (KeyState::PendingDeletion, Some(day(8).now)));
        assert_eq!(key.deletion_scheduled_by(), Some("ada"));
        assert!(!key.is_due_for_deletion(day(7)) && key.is_due_for_deletion(day(8)));
        assert!(!key.is_due_for_deletion(Moment { running: day(7).running, ..day(9) }), "a clock that jumped");
    }

    #[test]
    fn a_cancelled_deletion_leaves_a_disabled_key() {
        let mut key = key_of_kms();
        let before = Key { state: KeyState::Disabled, ..key.clone() };
        key.schedule_deletion(7, day(1), "ada");
        key.cancel_deletion(day(2).now);
        assert_eq!(key, before);
    }

    #[test]
    fn a_cancelled_deletion_leaves_a_key_that_waits_for_material_which_expired_meanwhile() {
        let mut key = imported_key();
        let options = ImportOptions { expiry: Some(day(3)), ..no_options() };
        let again = ImportOptions { is_new: Some(false), ..options };
        key.import(&mut Default::default(), &material(1), &again, day(0).now, ARN).expect("imported");
        key.schedule_deletion(7, day(1), "ada");
        key.cancel_deletion(day(4).now);
        assert_eq!(key.state(), KeyState::PendingImport);
    }

    #[test]
    fn a_primary_key_waits_for_its_replicas_and_then_for_its_window() {
        let (mut key, _) = primary_and_replica(Origin::AwsKms);
        key.schedule_deletion(9, day(1), "ada");
        assert_eq!((key.state(), key.deletion_date()), (KeyState::PendingReplicaDeletion, None));
        assert_eq!(key.pending_window_days(), Some(9));
        assert!(!key.is_due_for_deletion(day(99)));
        key.lose_relative(ELSEWHERE, day(20));
        assert_eq!((key.state(), key.deletion_date()), (KeyState::PendingDeletion, Some(day(29).now)));
        assert_eq!((key.pending_window_days(), key.deletion_scheduled_by()), (None, Some("ada")));
    }
}
