//! Brings the audit records of changes from the store, where each was stored with its change, to the audit trail: in the order of
//! the changes, and once, also after a crash.
//!
//! A record is forgotten in the store when it is in the trail and on the disk. One that a process before had not forgotten is looked
//! for in the trail first, from the place on where the trail ended when it was stored. Each process has a trail of its own; the
//! records of one that is gone with its trail come to another's.
//!
//! A trail whose file is renamed or removed goes on in a new one. A rename is looked for each second; after each write the open
//! file is asked whether it has a name left, and what went into one that has none is written again. A trail that cannot be
//! written keeps what it had taken, tries ten times a second, and goes on by itself.

use std::{collections::HashSet, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{audit, error::KmsError, failure, kms::Kms, store::StoredRecord};

/// Records that nobody has brought to their trail for so long are brought to this one.
const ABANDONED: Duration = Duration::from_secs(60);

/// How far the records are delivered.
#[derive(Default)]
pub(super) struct Delivery(tokio::sync::Mutex<Delivered>);

#[derive(Default)]
struct Delivered {
    /// True once the records that an earlier process may have left are delivered.
    looked: bool,
    /// The number of the last record that is in the trail.
    last: i64,
    /// Records that are in the trail, and still in the store.
    to_forget: Vec<i64>,
}

impl Kms {
    /// Brings what is stored to the trail; answers how many records.
    ///
    /// # Errors
    /// As store and trail answer. The records stay where they are, and the next round goes on.
    pub async fn deliver_records(&self) -> Result<usize, KmsError> {
        let mut delivered = self.delivery.0.lock().await;
        let mut count = 0;
        loop {
            let records = self.store.records_after(&self.trail.name(), delivered.last).await.map_err(failure::store)?;
            let Some(last) = records.last().map(|record| record.seq) else {
                delivered.looked = true;
                return Ok(count);
            };
            let there = if delivered.looked { HashSet::new() } else { in_their_trail(&records).await? };
            self.append(&records, &there).await?;
            count += records.len();
            delivered.last = last;
            delivered.to_forget.extend(records.iter().map(|record| record.seq));
        }
    }

    /// Has the store forget what is in the trail and on the disk; answers how many records.
    ///
    /// # Errors
    /// As store and trail answer; they are forgotten later then.
    pub async fn forget_records(&self) -> Result<usize, KmsError> {
        let mut delivered = self.delivery.0.lock().await;
        if delivered.to_forget.is_empty() || self.trail.trouble().is_some() {
            return Ok(0);
        }
        let trail = Arc::clone(&self.trail);
        let synced = tokio::task::spawn_blocking(move || trail.sync()).await;
        synced.map_err(KmsError::internal)?.map_err(KmsError::internal)?;
        self.store.forget_records(&delivered.to_forget).await.map_err(failure::store)?;
        Ok(std::mem::take(&mut delivered.to_forget).len())
    }

    /// Brings records here whose process is gone; answers how many.
    ///
    /// # Errors
    /// As [`Self::deliver_records`].
    pub async fn adopt_records(&self) -> Result<usize, KmsError> {
        let time = self.running().await?.minus(ABANDONED);
        let mut delivered = self.delivery.0.lock().await;
        let mut records = self.store.abandoned_records(&self.trail.name(), time).await.map_err(failure::store)?;
        // Those that were adopted before, and that the store could not forget yet, are here.
        records.retain(|record| !delivered.to_forget.contains(&record.seq));
        if records.is_empty() {
            return Ok(0);
        }
        self.append(&records, &in_their_trail(&records).await?).await?;
        delivered.to_forget.extend(records.iter().map(|record| record.seq));
        Ok(records.len())
    }

    /// True if the audit trail can be written.
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

    /// Appends records to the trail, without those that are there.
    async fn append(&self, records: &[StoredRecord], there: &HashSet<Uuid>) -> Result<(), KmsError> {
        let missing = records.iter().map(|stored| &stored.record).filter(|record| !there.contains(&record.event_id));
        let lines: String = missing.map(|record| record.line.as_str()).collect();
        match self.trail.append(lines.into_bytes()).await {
            // It is written before anything else.
            Err(error) if error.is_kept() => Ok(()),
            written => written.map_err(failure::audit),
        }
    }
}

/// Which of these records are in the trail that they were to go to.
async fn in_their_trail(records: &[StoredRecord]) -> Result<HashSet<Uuid>, KmsError> {
    let mut found = HashSet::new();
    let mut looked: HashSet<&str> = HashSet::new();
    for first in records.iter().map(|stored| &stored.record) {
        if !looked.insert(&first.trail) {
            continue;
        }
        // In their order, so the first of a trail has the earliest position.
        let trail = first.trail.clone();
        let position = first.position.clone();
        let wanted = records.iter().map(|stored| stored.record.event_id).collect();
        let look = move || audit::records_after(&trail, &position, &wanted);
        let there = tokio::task::spawn_blocking(look).await.map_err(KmsError::internal)?;
        found.extend(there.map_err(KmsError::internal)?);
    }
    Ok(found)
}
