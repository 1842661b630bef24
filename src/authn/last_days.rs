//! The last day on which each access key signed.
//!
//! It is noted where the first good signature of an access key for a day and a region is proved, which is where its signing key is
//! derived; a call that finds that key at hand notes nothing. So to know it costs a call nothing, and the store one row for each
//! access key and day.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};

use crate::{error::KmsError, failure, store::Store};

/// Days (YYYYMMDD) that are not in the store yet, by access key.
#[derive(Default)]
pub(super) struct LastDays(Mutex<HashMap<String, String>>);

impl LastDays {
    /// An access key has signed on that day.
    pub(super) fn note(&self, access_key_id: &str, day: &str) {
        let mut days = self.noted();
        let last = days.entry(access_key_id.to_owned()).or_default();
        if last.as_str() < day {
            day.clone_into(last);
        }
    }

    /// Writes what was noted to the store; answers of how many access keys.
    ///
    /// # Errors
    /// As the store answers; what could not be written is written the next time.
    pub(super) async fn write(&self, store: &Store) -> Result<usize, KmsError> {
        let days = std::mem::take(&mut *self.noted());
        if days.is_empty() {
            return Ok(0);
        }
        if let Err(error) = store.store_access_key_days(&days).await {
            days.iter().for_each(|(id, day)| self.note(id, day));
            return Err(failure::store(error));
        }
        Ok(days.len())
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock()
    }
}
