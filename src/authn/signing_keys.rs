//! The signing keys that are at hand.
//!
//! Of the secret of an access key, which only the HSM can open, one thing is kept: what Signature Version 4 makes of it for a
//! day, from which every region's key follows without the HSM. So whoever signs for more and more regions, well or badly,
//! costs no HSM call; and what is kept for one access key drives out nothing of another's.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OnceCell;

use crate::sigv4::{DateKey, SigningKey};

/// The most access keys of which something is kept. Beyond, the one that was not used for longest goes.
const MAX_ACCESS_KEYS: usize = 10_000;
/// Dates of one access key: around midnight there are two.
const MAX_DAYS: usize = 2;
/// Regions of one access key and date whose signing keys are kept, each since a signature proved to be good.
const MAX_REGIONS: usize = 16;

/// The signing keys that are kept, by access key.
#[derive(Default)]
pub(super) struct SigningKeys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    access_keys: HashMap<String, DaysOfAccessKey>,
    /// Grows with every use.
    uses: u64,
}

#[derive(Default)]
struct DaysOfAccessKey {
    days: Vec<Arc<Day>>,
    last_use: u64,
}

/// One access key on one day.
pub(super) struct Day {
    date: String,
    /// Derived once, by the first who asks; others wait for it.
    pub(super) key: OnceCell<DateKey>,
    /// The one that was used last is last.
    regions: Mutex<Vec<(String, Arc<SigningKey>)>>,
}

impl SigningKeys {
    /// The signing keys of an access key for a day, or a place to keep them.
    pub(super) fn day(&self, access_key_id: &str, date: &str) -> Arc<Day> {
        let mut kept = self.kept();
        kept.uses += 1;
        let uses = kept.uses;
        if let Some(of) = kept.access_keys.get_mut(access_key_id) {
            of.last_use = uses;
            return of.day(date);
        }
        if kept.access_keys.len() >= MAX_ACCESS_KEYS {
            kept.drop_the_least_used();
        }
        let of = kept.access_keys.entry(access_key_id.to_owned()).or_default();
        of.last_use = uses;
        of.day(date)
    }

    /// Keeps nothing of an access key any more.
    pub(super) fn forget(&self, access_key_id: &str) {
        self.kept().access_keys.remove(access_key_id);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }
}

impl Kept {
    fn drop_the_least_used(&mut self) {
        let least = self.access_keys.iter().min_by_key(|(_, of)| of.last_use).map(|(id, _)| id.clone());
        least.and_then(|id| self.access_keys.remove(&id));
    }
}

impl DaysOfAccessKey {
    fn day(&mut self, date: &str) -> Arc<Day> {
        if let Some(day) = self.days.iter().find(|day| day.date == date) {
            return Arc::clone(day);
        }
        if self.days.len() >= MAX_DAYS {
            self.days.remove(0);
        }
        let day = Arc::new(Day { date: date.to_owned(), key: OnceCell::new(), regions: Mutex::default() });
        self.days.push(Arc::clone(&day));
        day
    }
}

impl Day {
    /// The signing key of a region, if it is kept.
    pub(super) fn of_region(&self, region: &str) -> Option<Arc<SigningKey>> {
        let mut regions = self.regions();
        let at = regions.iter().position(|(name, _)| name == region)?;
        regions.get_mut(at..)?.rotate_left(1);
        regions.last().map(|(_, key)| Arc::clone(key))
    }

    /// Keeps the signing key of a region, for which a signature has proved to be good.
    pub(super) fn keep(&self, region: &str, key: Arc<SigningKey>) {
        let mut regions = self.regions();
        regions.retain(|(name, _)| name != region);
        if regions.len() >= MAX_REGIONS {
            regions.remove(0);
        }
        regions.push((region.to_owned(), key));
    }

    fn regions(&self) -> MutexGuard<'_, Vec<(String, Arc<SigningKey>)>> {
        self.regions.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretText;

    const TODAY: &str = "20260101";

    fn date_key() -> DateKey {
        DateKey::derive(&SecretText::from("secret".to_owned()), TODAY)
    }

    fn is_kept(keys: &SigningKeys, access_key_id: &str) -> bool {
        keys.kept().access_keys.contains_key(access_key_id)
    }

    #[test]
    fn the_least_recently_used_access_key_goes_and_no_other() {
        let keys = SigningKeys::default();
        for n in 0..MAX_ACCESS_KEYS {
            keys.day(&n.to_string(), TODAY);
        }
        keys.day("0", TODAY);
        keys.day("another", TODAY);
        assert!(is_kept(&keys, "0") && !is_kept(&keys, "1") && is_kept(&keys, "2") && is_kept(&keys, "another"));
        keys.forget("0");
        assert!(!is_kept(&keys, "0"));
    }

    #[test]
    fn an_access_key_has_few_days() {
        let keys = SigningKeys::default();
        let days = ["20260101", "20260102", "20260101", "20260103"].map(|date| keys.day("a", date));
        assert!(Arc::ptr_eq(&days[0], &days[2]));
        assert!(!Arc::ptr_eq(&days[0], &keys.day("a", "20260101")), "it was dropped for a third");
        assert!(!Arc::ptr_eq(&days[3], &keys.day("b", "20260103")));
    }

    #[test]
    fn a_day_has_few_regions_and_keeps_those_in_use() {
        let day = SigningKeys::default().day("a", TODAY);
        let keep = |region: &str| day.keep(region, Arc::new(date_key().signing_key(region)));
        keep("home");
        for n in 0..100 {
            assert!(day.of_region("home").is_some());
            keep(&n.to_string());
        }
        assert_eq!(day.regions().len(), MAX_REGIONS);
        assert!(day.of_region("99").is_some() && day.of_region("0").is_none());
    }
}
