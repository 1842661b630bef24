//! The grants of one region in memory, filed under everything that they are asked for by: no question looks at more of
//! them than may be the answer.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::{
    key::{
        grant::{Grant, GrantId, Party},
        reference::KeyId,
    },
    principal::Principal,
};

type Filed<Id> = HashMap<String, BTreeMap<Id, Arc<Grant>>>;

/// The grants of a region.
#[derive(Default)]
pub(super) struct Granted {
    keys: HashMap<KeyId, OfKey>,
    by_retiring: Filed<(KeyId, GrantId)>,
}

#[derive(Default)]
struct OfKey {
    all: BTreeMap<GrantId, Arc<Grant>>,
    by_grantee: Filed<GrantId>,
    by_name: Filed<GrantId>,
}

impl Granted {
    pub(super) fn get(&self, key: KeyId, id: GrantId) -> Option<Arc<Grant>> {
        self.keys.get(&key)?.all.get(&id).cloned()
    }

    pub(super) fn count(&self, key: KeyId) -> usize {
        self.keys.get(&key).map_or(0, |of_key| of_key.all.len())
    }

    /// A grant of the same key, with the same terms and name.
    pub(super) fn like(&self, grant: &Grant) -> Option<GrantId> {
        let named = self.keys.get(&grant.key)?.by_name.get(grant.terms.name.as_ref()?)?;
        named.values().find(|other| other.terms == grant.terms).map(|other| other.id)
    }

    /// The first of the key's grants that may be `caller`'s and is `wanted`.
    pub(super) fn find(&self, key: KeyId, caller: &Principal, wanted: &dyn Fn(&Grant) -> bool) -> Option<Arc<Grant>> {
        let of_key = self.keys.get(&key)?;
        let names = caller.names_are_filed_under();
        let mut candidates = names.iter().filter_map(|name| of_key.by_grantee.get(name)).flat_map(BTreeMap::values);
        candidates.find(|grant| wanted(grant)).cloned()
    }

    /// The first `n` grants of the key after `after`: all, or those of one grantee.
    pub(super) fn after(
        &self,
        key: KeyId,
        grantee: Option<&Party>,
        after: Option<GrantId>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        let Some(of_key) = self.keys.get(&key) else { return Vec::new() };
        let grants = match grantee {
            None => Some(&of_key.all),
            Some(party) => of_key.by_grantee.get(&party.filed_under()),
        };
        let is_theirs = |grant: &&Arc<Grant>| grantee.is_none_or(|party| grant.terms.grantee == *party);
        let grants = grants.into_iter().flat_map(|grants| beyond(grants, after));
        grants.filter(is_theirs).take(n).cloned().collect()
    }

    /// The first `n` grants after `after` that `retiring` may retire.
    pub(super) fn retirable_after(
        &self,
        retiring: &Party,
        after: Option<(KeyId, GrantId)>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        let grants = self.by_retiring.get(&retiring.filed_under());
        let grants = grants.into_iter().flat_map(|grants| beyond(grants, after));
        grants.filter(|grant| grant.terms.retiring.as_ref() == Some(retiring)).take(n).cloned().collect()
    }

    /// Takes in what is new, different, or gone.
    pub(super) fn put(&mut self, key: KeyId, id: GrantId, grant: Option<Arc<Grant>>) {
        self.remove(key, id);
        let Some(grant) = grant else { return };
        let of_key = self.keys.entry(key).or_default();
        file(&mut of_key.by_grantee, Some(grant.terms.grantee.filed_under()), id, &grant);
        file(&mut of_key.by_name, grant.terms.name.clone(), id, &grant);
        file(&mut self.by_retiring, grant.terms.retiring.as_ref().map(Party::filed_under), (key, id), &grant);
        of_key.all.insert(id, grant);
    }

    fn remove(&mut self, key: KeyId, id: GrantId) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        let Some(old) = of_key.all.remove(&id) else { return };
        unfile(&mut of_key.by_grantee, Some(old.terms.grantee.filed_under()), &id);
        unfile(&mut of_key.by_name, old.terms.name.clone(), &id);
        unfile(&mut self.by_retiring, old.terms.retiring.as_ref().map(Party::filed_under), &(key, id));
        if of_key.all.is_empty() {
            self.keys.remove(&key);
        }
    }
}

fn beyond<Id: Ord>(grants: &BTreeMap<Id, Arc<Grant>>, after: Option<Id>) -> impl Iterator<Item = &Arc<Grant>> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    grants.range((start, Bound::Unbounded)).map(|(_, grant)| grant)
}

fn file<Id: Ord>(filed: &mut Filed<Id>, under: Option<String>, id: Id, grant: &Arc<Grant>) {
    if let Some(name) = under {
        filed.entry(name).or_default().insert(id, Arc::clone(grant));
    }
}

fn unfile<Id: Ord>(filed: &mut Filed<Id>, under: Option<String>, id: &Id) {
    let Some(name) = under else { return };
    if let Some(grants) = filed.get_mut(&name) {
        grants.remove(id);
        if grants.is_empty() {
            filed.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arn::AccountId,
        clock::Timestamp,
        key::grant::{Constraints, GrantOperation, Terms},
    };

    const ROOT: &str = "arn:aws:iam::111122223333:root";
    const ADA: &str = "arn:aws:iam::111122223333:user/ada";
    const OPS: &str = "arn:aws:iam::111122223333:role/path/Ops";
    const MONDAY: &str = "arn:aws:sts::111122223333:assumed-role/Ops/monday";

    fn key(n: u8) -> KeyId {
        KeyId::from_parts(false, [n; 16])
    }

    fn party(arn: &str) -> Party {
        Party::of_arn(arn).expect("a principal")
    }

    fn grant(n: u8, grantee: &str, retiring: Option<&str>, name: Option<&str>) -> Arc<Grant> {
        let terms = Terms {
            grantee: party(grantee),
            retiring: retiring.map(party),
            operations: [GrantOperation::Encrypt].into(),
            constraints: Constraints::default(),
            name: name.map(str::to_owned),
        };
        let issuer = AccountId::try_from("111122223333".to_owned()).expect("digits");
        let (id, created) = (GrantId([n; 32]), Timestamp::from_ms(0));
        Arc::new(Grant { id, key: key(1), region: "eu-test-1".into(), terms, created, issuer })
    }

    fn granted(grants: &[Arc<Grant>]) -> Granted {
        let mut granted = Granted::default();
        grants.iter().for_each(|grant| granted.put(grant.key, grant.id, Some(Arc::clone(grant))));
        granted
    }

    fn numbers(grants: &[Arc<Grant>]) -> Vec<u8> {
        grants.iter().map(|grant| grant.id.0[0]).collect()
    }

    #[test]
    fn a_caller_is_shown_what_may_be_theirs_and_nothing_else() {
        let granted = granted(&[grant(1, ROOT, None, None), grant(2, ADA, None, None), grant(3, OPS, None, None)]);
        for (caller, expected) in [(ROOT, vec![1]), (ADA, vec![2, 1]), (OPS, vec![3, 1]), (MONDAY, vec![3, 1])] {
            let seen = std::cell::RefCell::new(Vec::new());
            let note = |grant: &Grant| {
                seen.borrow_mut().push(grant.id.0[0]);
                false
            };
            let caller = Principal::try_from(caller.to_owned()).expect("a principal");
            assert!(granted.find(key(1), &caller, &note).is_none());
            assert_eq!(seen.into_inner(), expected, "{caller}");
            assert!(granted.find(key(2), &caller, &|_| true).is_none());
        }
    }

    #[test]
    fn lists_are_in_order_and_of_one_party() {
        let grants = [
            grant(3, ADA, Some(OPS), None),
            grant(1, ADA, Some(ROOT), None),
            grant(2, OPS, Some(OPS), None),
            grant(4, "arn:aws:iam::111122223333:role/Ops", None, None),
        ];
        let granted = granted(&grants);
        let after = |grantee: Option<&str>, after: Option<u8>, n| {
            let grantee = grantee.map(party);
            numbers(&granted.after(key(1), grantee.as_ref(), after.map(|n| GrantId([n; 32])), n))
        };
        assert_eq!(after(None, None, 9), [1, 2, 3, 4]);
        assert_eq!(after(None, Some(1), 2), [2, 3]);
        assert_eq!(after(Some(ADA), None, 9), [1, 3]);
        assert_eq!(after(Some(OPS), None, 9), [2]);
        let retirable = |retiring, after| numbers(&granted.retirable_after(&party(retiring), after, 9));
        assert_eq!((retirable(OPS, None), retirable(ROOT, None)), (vec![2, 3], vec![1]));
        assert_eq!(retirable(OPS, Some((key(1), GrantId([2; 32])))), [3]);
    }

    #[test]
    fn what_is_gone_is_nowhere() {
        let grants = [grant(1, ADA, Some(OPS), Some("a")), grant(2, OPS, None, None)];
        let mut granted = granted(&grants);
        assert_eq!(granted.like(&grant(9, ADA, Some(OPS), Some("a"))), Some(GrantId([1; 32])));
        assert_eq!(granted.like(&grant(9, ADA, None, Some("a"))), None, "other terms");
        assert_eq!(granted.like(&grant(9, OPS, None, None)), None, "no name");
        // The same once more, then in other words, then gone.
        granted.put(key(1), GrantId([1; 32]), Some(grant(1, ADA, Some(OPS), Some("a"))));
        assert_eq!(granted.count(key(1)), 2);
        granted.put(key(1), GrantId([1; 32]), Some(grant(1, OPS, None, None)));
        assert!(granted.by_retiring.is_empty());
        granted.put(key(1), GrantId([1; 32]), None);
        granted.put(key(1), GrantId([2; 32]), None);
        assert!(granted.keys.is_empty() && granted.get(key(1), GrantId([1; 32])).is_none());
    }
}
