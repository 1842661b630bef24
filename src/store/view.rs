//! The view: everything that is stored, in memory, with policies compiled and lists in order.
//!
//! Reads take a read lock, look one thing up and clone an `Arc`. Nothing is parsed and nothing waits while the lock is
//! held, so it is a std lock, and no reader can hold it across an await.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{RwLock, RwLockReadGuard};

use super::{AccessKey, PrincipalRecord, grant_index::GrantIndex, update::Update};
use crate::{
    access::KeyEntry,
    clock::{Moment, Timestamp},
    key::{
        alias::Alias,
        custom_store::CustomKeyStore,
        grant::{ConstraintFacts, Grant, GrantId, GrantOperation, Party},
        reference::KeyId,
        state::KeyState,
    },
    policy,
    principal::Principal,
};

/// A principal with its policies compiled.
#[derive(Debug)]
pub struct PrincipalEntry {
    /// The principal.
    pub record: PrincipalRecord,
    /// Its identity policies, by name.
    pub policies: Vec<Arc<policy::Document>>,
}

/// Everything that the hot path reads.
#[derive(Default)]
pub struct View {
    state: RwLock<Contents>,
    version: AtomicU64,
}

/// What is shown.
#[derive(Default)]
pub(super) struct Contents {
    regions: HashMap<Arc<str>, Region>,
    principals: BTreeMap<String, Arc<PrincipalEntry>>,
    access_keys: BTreeMap<String, Arc<AccessKey>>,
}

#[derive(Default)]
struct Region {
    keys: BTreeMap<KeyId, Arc<KeyEntry>>,
    /// How many keys are in each state that any was in.
    states: BTreeMap<KeyState, usize>,
    /// The keys that something is to be done with, by its date.
    deletions: BTreeSet<(Timestamp, KeyId)>,
    expiries: BTreeSet<(Timestamp, KeyId)>,
    rotations: BTreeSet<(Timestamp, KeyId)>,
    aliases: BTreeMap<Arc<str>, Arc<Alias>>,
    aliases_of: BTreeSet<(KeyId, Arc<str>)>,
    grants: GrantIndex,
    key_stores: BTreeMap<String, Arc<CustomKeyStore>>,
}

impl View {
    /// A number that is another one whenever something else is shown.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The key of that id.
    pub fn key(&self, region: &str, id: KeyId) -> Option<Arc<KeyEntry>> {
        self.read().regions.get(region)?.keys.get(&id).cloned()
    }

    /// The first `n` keys after `after`, by id.
    pub fn keys_after(&self, region: &str, after: Option<KeyId>, n: usize) -> Vec<Arc<KeyEntry>> {
        let state = self.read();
        let Some(region) = state.regions.get(region) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        region.keys.range((start, Bound::Unbounded)).take(n).map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// The keys of that id in all regions: one, or a multi-Region key and its relatives.
    pub fn family(&self, id: KeyId) -> Vec<Arc<KeyEntry>> {
        self.read().regions.values().filter_map(|region| region.keys.get(&id).cloned()).collect()
    }

    /// At most `n` keys of all regions that are to be deleted now.
    pub fn due_for_deletion(&self, moment: Moment, n: usize) -> Vec<Arc<KeyEntry>> {
        let state = self.read();
        let due = state.regions.values().flat_map(|region| region.dated(&region.deletions, moment.now));
        due.filter(|entry| entry.key.is_due_for_deletion(moment)).take(n).cloned().collect()
    }

    /// Keys of all regions that have imported material which is not valid any more.
    pub fn expired(&self, moment: Moment) -> Vec<Arc<KeyEntry>> {
        let state = self.read();
        let keys = state.regions.values().flat_map(|region| region.dated(&region.expiries, moment.now));
        keys.filter(|entry| entry.key.expired(moment).next().is_some()).cloned().collect()
    }

    /// Keys of all regions whose next rotation is due.
    pub fn due_for_rotation(&self, now: Timestamp) -> Vec<Arc<KeyEntry>> {
        let state = self.read();
        let keys = state.regions.values().flat_map(|region| region.dated(&region.rotations, now));
        keys.filter(|entry| entry.key.is_due_for_rotation(now)).cloned().collect()
    }

    /// How many keys are in each state, in all regions together.
    pub fn keys_by_state(&self) -> BTreeMap<KeyState, usize> {
        let mut all: BTreeMap<_, _> = KeyState::ALL.iter().map(|state| (*state, 0)).collect();
        for (state, count) in self.read().regions.values().flat_map(|region| &region.states) {
            *all.entry(*state).or_default() += count;
        }
        all
    }

    /// True if any access key may sign.
    pub fn has_enabled_access_key(&self) -> bool {
        self.read().access_keys.values().any(|key| key.enabled)
    }

    /// The alias of that name, which begins with `alias/`.
    pub fn alias(&self, region: &str, name: &str) -> Option<Arc<Alias>> {
        self.read().regions.get(region)?.aliases.get(name).cloned()
    }

    /// The first `n` aliases after `after`, by name: all, or those of one key.
    pub fn aliases_after(&self, region: &str, target: Option<KeyId>, after: Option<&str>, n: usize) -> Vec<Arc<Alias>> {
        let state = self.read();
        match (state.regions.get(region), target) {
            (None, _) => Vec::new(),
            (Some(region), None) => {
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let page = region.aliases.range::<str, _>((start, Bound::Unbounded));
                page.take(n).map(|(_, alias)| Arc::clone(alias)).collect()
            }
            (Some(region), Some(key)) => region.aliases_of(key, after).take(n).cloned().collect(),
        }
    }

    /// The grant of that key and id.
    pub fn grant(&self, region: &str, key: KeyId, id: GrantId) -> Option<Arc<Grant>> {
        self.read().regions.get(region)?.grants.get(key, id)
    }

    /// How many grants a key has.
    pub fn count_grants(&self, region: &str, key: KeyId) -> usize {
        self.read().regions.get(region).map_or(0, |region| region.grants.count(key))
    }

    /// The grant of the same key, with the same terms and name as `grant`.
    pub fn grant_like(&self, grant: &Grant) -> Option<GrantId> {
        self.read().regions.get(grant.region.as_str())?.grants.like(grant)
    }

    /// The first of the key's grants that may allow `caller` such a request and is `wanted`, which must not take long: it
    /// is asked under the lock, about grants of this caller, their role or their account only.
    pub fn grant_for(
        &self,
        region: &str,
        key: KeyId,
        caller: &Principal,
        request: (GrantOperation, ConstraintFacts<'_>),
        wanted: &dyn Fn(&Grant) -> bool,
    ) -> Option<Arc<Grant>> {
        self.read().regions.get(region)?.grants.find(key, caller, request, wanted)
    }

    /// The first `n` grants of a key after `after`, by id: all, or those of one grantee.
    pub fn grants_after(
        &self,
        region: &str,
        key: KeyId,
        grantee: Option<&Party>,
        after: Option<GrantId>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        let state = self.read();
        state.regions.get(region).map_or_else(Vec::new, |region| region.grants.after(key, grantee, after, n))
    }

    /// The first `n` grants after `after` that `retiring` may retire, by key and id.
    pub fn retirable_grants_after(
        &self,
        region: &str,
        retiring: &Party,
        after: Option<(KeyId, GrantId)>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        let state = self.read();
        state.regions.get(region).map_or_else(Vec::new, |region| region.grants.retirable_after(retiring, after, n))
    }

    /// The custom key store of that id.
    pub fn key_store(&self, region: &str, id: &str) -> Option<Arc<CustomKeyStore>> {
        self.read().regions.get(region)?.key_stores.get(id).cloned()
    }

    /// The first `n` custom key stores after `after`, by id.
    pub fn key_stores_after(&self, region: &str, after: Option<&str>, n: usize) -> Vec<Arc<CustomKeyStore>> {
        let state = self.read();
        let Some(region) = state.regions.get(region) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = region.key_stores.range::<str, _>((start, Bound::Unbounded));
        page.take(n).map(|(_, key_store)| Arc::clone(key_store)).collect()
    }

    /// Every custom key store of all regions.
    pub fn key_stores(&self) -> Vec<Arc<CustomKeyStore>> {
        self.read().regions.values().flat_map(|region| region.key_stores.values().cloned()).collect()
    }

    /// The principal of that ARN.
    pub fn principal(&self, arn: &str) -> Option<Arc<PrincipalEntry>> {
        self.read().principals.get(arn).cloned()
    }

    /// Every principal, by ARN.
    pub fn principals(&self) -> Vec<Arc<PrincipalEntry>> {
        self.read().principals.values().cloned().collect()
    }

    /// The access key of that id, enabled or not.
    pub fn access_key(&self, id: &str) -> Option<Arc<AccessKey>> {
        self.read().access_keys.get(id).cloned()
    }

    /// Every access key, by id.
    pub fn access_keys(&self) -> Vec<Arc<AccessKey>> {
        self.read().access_keys.values().cloned().collect()
    }

    /// Takes updates in, all at once for whoever looks.
    pub(super) fn apply(&self, updates: Vec<Update>) {
        if updates.is_empty() {
            return;
        }
        let mut state = self.state.write();
        updates.into_iter().for_each(|update| state.apply(update));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Has nothing but this, all at once for whoever looks.
    pub(super) fn replace(&self, contents: Contents) {
        *self.state.write() = contents;
        self.version.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.state.read()
    }
}

impl Contents {
    /// Takes an update in.
    pub(super) fn apply(&mut self, update: Update) {
        match update {
            Update::Key(region, id, key) => self.regions.entry(region).or_default().put_key(id, key),
            Update::Alias(region, name, alias) => self.regions.entry(region).or_default().put_alias(name, alias),
            Update::Grant(region, key, id, grant) => {
                self.regions.entry(region).or_default().grants.put(key, id, grant);
            }
            Update::KeyStore(region, id, key_store) => {
                put(&mut self.regions.entry(region).or_default().key_stores, id, key_store.map(Arc::new));
            }
            Update::Principal(arn, entry) => put(&mut self.principals, arn, entry.map(Arc::new)),
            Update::AccessKey(id, key) => put(&mut self.access_keys, id, key.map(Arc::new)),
        }
    }
}

impl Region {
    fn put_key(&mut self, id: KeyId, entry: Option<Arc<KeyEntry>>) {
        let dates = [&mut self.deletions, &mut self.expiries, &mut self.rotations];
        let old = self.keys.get(&id).map(dates_of);
        let new = entry.as_ref().map(dates_of);
        for (dates, old) in dates.into_iter().zip(old.unwrap_or_default()) {
            old.map(|date| dates.remove(&(date, id)));
        }
        let dates = [&mut self.deletions, &mut self.expiries, &mut self.rotations];
        for (dates, new) in dates.into_iter().zip(new.unwrap_or_default()) {
            new.map(|date| dates.insert((date, id)));
        }
        if let Some(old) = self.keys.get(&id)
            && let Some(count) = self.states.get_mut(&old.key.state())
        {
            *count -= 1;
        }
        if let Some(new) = &entry {
            *self.states.entry(new.key.state()).or_default() += 1;
        }
        put(&mut self.keys, id, entry);
    }

    /// The keys of a list whose date has come.
    fn dated<'a>(
        &'a self,
        dates: &'a BTreeSet<(Timestamp, KeyId)>,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Arc<KeyEntry>> {
        dates.iter().take_while(move |(date, _)| *date <= now).filter_map(|(_, id)| self.keys.get(id))
    }

    fn put_alias(&mut self, name: Arc<str>, alias: Option<Arc<Alias>>) {
        if let Some(old) = self.aliases.get(&name) {
            self.aliases_of.remove(&(old.target, Arc::clone(&name)));
        }
        if let Some(new) = &alias {
            self.aliases_of.insert((new.target, Arc::clone(&name)));
        }
        put(&mut self.aliases, name, alias);
    }

    /// The aliases of a key after `after`, by name.
    fn aliases_of(&self, key: KeyId, after: Option<&str>) -> impl Iterator<Item = &Arc<Alias>> {
        // No name is empty.
        let start = (key, after.unwrap_or_default().into());
        let names = self.aliases_of.range((Bound::Excluded(start), Bound::Unbounded));
        names.take_while(move |(target, _)| *target == key).filter_map(|(_, name)| self.aliases.get(name))
    }
}

/// When something is to be done with a key: its deletion, the first expiry, its rotation.
fn dates_of(entry: &Arc<KeyEntry>) -> [Option<Timestamp>; 3] {
    let key = &entry.key;
    [key.deletion_date(), key.first_expiry(), key.schedule().map(|schedule| schedule.next())]
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
