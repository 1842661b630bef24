//! The table of background tasks: what each is called in the log, and what its round does.

use super::{clear_intents, delete_keys, deliver_records, finish_deletions};
use crate::{clock::Moment, error::KmsError, kms::Kms};

/// The name of a task, and how many things its round did.
pub(super) type Round = (&'static str, Result<usize, KmsError>);

/// A background task. Those that are done by date carry the moment that is believed.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// Brings the view up to date with what other processes wrote.
    FollowStore,
    /// Connects custom key stores that are to be connected, after a start too, and disconnects those that are not.
    TendKeyStores,
    /// Sees that the audit trail's file is still the one of its name: it may have been renamed, as when logs are rotated, or removed.
    FollowTrail,
    /// Brings audit records of changes to the trail, and has the store forget those that are there.
    DeliverRecords,
    /// Brings audit records to this process's trail whose own process is gone.
    AdoptRecords,
    /// Writes down when keys were last used.
    WriteUses,
    /// Deletes keys whose waiting time is over.
    DeleteKeys(Moment),
    /// Destroys what HSMs have of keys that were deleted.
    FinishDeletions,
    /// Destroys imported material that has expired. Its key waits for it to be imported again.
    ExpireMaterial(Moment),
    /// Gives keys new material whose rotation is due, by a date that is believed only, or whose material has been used for as many
    /// encryptions as is wise.
    RotateKeys(Option<Moment>),
    /// Destroys objects that were made on the HSM for keys that were never stored.
    ClearIntents,
    /// Has the store keep nothing of what was deleted, wrapped keys above all.
    ScrubStore,
}

impl Task {
    /// Does one round.
    pub(super) async fn round(self, kms: &Kms) -> Round {
        match self {
            Self::FollowStore => ("follow the store", kms.follow_store().await),
            Self::TendKeyStores => ("tend custom key stores", kms.tend_key_stores().await),
            Self::FollowTrail => ("follow the audit trail", kms.follow_trail().await),
            Self::DeliverRecords => ("deliver audit records", deliver_records::round(kms).await),
            Self::AdoptRecords => ("adopt audit records", kms.adopt_records().await),
            Self::WriteUses => ("write uses", kms.write_uses().await),
            Self::DeleteKeys(moment) => ("delete keys", delete_keys::round(kms, moment).await),
            Self::FinishDeletions => ("finish deletions", finish_deletions::round(kms).await),
            Self::ExpireMaterial(moment) => ("expire material", kms.expire_materials(moment).await),
            Self::RotateKeys(moment) => ("rotate keys", kms.rotate_due(moment).await),
            Self::ClearIntents => ("clear intents", clear_intents::round(kms).await),
            Self::ScrubStore => ("scrub the store", kms.scrub_store().await.map(|()| 0)),
        }
    }
}

/// Does one round of each task, in this order.
pub(super) async fn rounds(kms: &Kms, tasks: &[Task]) -> Vec<Round> {
    let mut rounds = Vec::new();
    for task in tasks {
        rounds.push(task.round(kms).await);
    }
    rounds
}
