//! What many documents have in common is in memory once: the names of regions, and key policies, as text and compiled.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::policy::Document;

/// Fewer policies are not worth looking for those that are in no use any more.
const FEW_POLICIES: usize = 1000;

/// Regions and policies that are in use.
#[derive(Default)]
pub(super) struct Shared {
    regions: Mutex<HashSet<Arc<str>>>,
    policies: Mutex<Policies>,
}

/// A key policy.
pub(super) struct Policy {
    pub(super) text: Arc<str>,
    pub(super) compiled: Arc<Document>,
}

/// Key policies by their texts.
#[derive(Default)]
struct Policies {
    known: HashMap<Arc<str>, Weak<Document>>,
    /// How many were in use when it was last asked.
    used: usize,
}

impl Shared {
    /// The name of a region.
    pub(super) fn region(&self, name: &str) -> Arc<str> {
        let mut known = self.regions.lock();
        if let Some(region) = known.get(name) {
            return Arc::clone(region);
        }
        let region: Arc<str> = name.into();
        known.insert(Arc::clone(&region));
        region
    }

    /// The key policy of that text; `None` if it does not compile. Most keys have the same one, and to compile it takes longer than
    /// to read a key.
    pub(super) fn policy(&self, text: &str) -> Option<Policy> {
        let known = self.policies.lock().get(text);
        known.or_else(|| {
            // Not under the lock: others do not wait for it.
            let compiled = Document::key_policy(text).ok()?;
            Some(self.policies.lock().put(text, compiled))
        })
    }
}

impl Policies {
    fn get(&self, text: &str) -> Option<Policy> {
        let (text, compiled) = self.known.get_key_value(text)?;
        Some(Policy { text: Arc::clone(text), compiled: compiled.upgrade()? })
    }

    /// Takes a policy in, unless another has just done so.
    fn put(&mut self, text: &str, compiled: Document) -> Policy {
        if let Some(known) = self.get(text) {
            return known;
        }
        if self.known.len() > 2 * self.used.max(FEW_POLICIES) {
            self.known.retain(|_, policy| policy.strong_count() > 0);
            self.used = self.known.len();
        }
        let compiled = Arc::new(compiled);
        let entry = self.known.entry(text.into()).insert_entry(Arc::downgrade(&compiled));
        Policy { text: Arc::clone(entry.key()), compiled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that differs from those of other numbers.
    fn policy(number: usize) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"{number}","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}]}}"#
        )
    }

    #[test]
    fn policies_that_are_in_no_use_are_forgotten() {
        let shared = Shared::default();
        let used: Vec<_> = (0..100).map(|number| shared.policy(&policy(number)).expect("a policy")).collect();
        (100..2 * FEW_POLICIES + 100).for_each(|number| drop(shared.policy(&policy(number))));
        assert!(shared.policies.lock().known.len() < FEW_POLICIES);
        for (number, known) in used.iter().enumerate() {
            let again = shared.policy(&policy(number)).expect("a policy");
            assert!(Arc::ptr_eq(&again.compiled, &known.compiled) && Arc::ptr_eq(&again.text, &known.text));
        }
        assert!(shared.policy("{").is_none());
    }
}
