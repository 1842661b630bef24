//! The grants of one region in memory, filed under everything that they are asked for by, so that no question looks at
//! many that cannot be the answer: under whom they are for, and there under one of the pairs that they demand of an
//! encryption context, which a request must have for any of them to allow it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::{
    key::{
        grant::{ConstraintFacts, Grant, GrantId, GrantOperation, Party},
        reference::KeyId,
    },
    principal::Principal,
};

type GrantsByText<Id> = HashMap<String, BTreeMap<Id, Arc<Grant>>>;
type ContextPair = (String, String);

/// The grants of a region.
#[derive(Default)]
pub(super) struct GrantIndex {
    keys: HashMap<KeyId, GrantsOfKey>,
    by_retiring: GrantsByText<(KeyId, GrantId)>,
}

#[derive(Default)]
struct GrantsOfKey {
    all: BTreeMap<GrantId, Arc<Grant>>,
    by_grantee: HashMap<String, GrantsOfGrantee>,
    by_name: GrantsByText<GrantId>,
}

/// A key's grants for one grantee.
#[derive(Default)]
struct GrantsOfGrantee {
    all: BTreeMap<GrantId, Arc<Grant>>,
    /// Those that allow something which has no encryption context and which constraints of it do not apply to.
    free: BTreeMap<GrantId, Arc<Grant>>,
    /// Those that demand no pair.
    undemanding: BTreeMap<GrantId, Arc<Grant>>,
    /// The others, each under one of the pairs that it demands.
    demanding: HashMap<ContextPair, BTreeMap<GrantId, Arc<Grant>>>,
}

impl GrantIndex {
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

    /// The first of the key's grants that may allow `caller` to do `operation` and is `wanted`.
    pub(super) fn find(
        &self,
        key: KeyId,
        caller: &Principal,
        (operation, facts): (GrantOperation, ConstraintFacts<'_>),
        wanted: &dyn Fn(&Grant) -> bool,
    ) -> Option<Arc<Grant>> {
        let of_key = self.keys.get(&key)?;
        let names = caller.index_keys_of_names();
        let grantees = names.iter().filter_map(|name| of_key.by_grantee.get(name));
        grantees.flat_map(|grantee| grantee.candidates(operation, facts)).find(|grant| wanted(grant)).cloned()
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
            Some(party) => of_key.by_grantee.get(&party.index_key()).map(|grantee| &grantee.all),
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
        let grants = self.by_retiring.get(&retiring.index_key());
        let grants = grants.into_iter().flat_map(|grants| beyond(grants, after));
        grants.filter(|grant| grant.terms.retiring.as_ref() == Some(retiring)).take(n).cloned().collect()
    }

    /// Takes in what is new, different, or gone.
    pub(super) fn put(&mut self, key: KeyId, id: GrantId, grant: Option<Arc<Grant>>) {
        self.remove(key, id);
        let Some(grant) = grant else { return };
        let of_key = self.keys.entry(key).or_default();
        of_key.by_grantee.entry(grant.terms.grantee.index_key()).or_default().file(id, &grant);
        file(&mut of_key.by_name, grant.terms.name.clone(), id, &grant);
        file(&mut self.by_retiring, grant.terms.retiring.as_ref().map(Party::index_key), (key, id), &grant);
        of_key.all.insert(id, grant);
    }

    fn remove(&mut self, key: KeyId, id: GrantId) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        let Some(old) = of_key.all.remove(&id) else { return };
        let grantee = old.terms.grantee.index_key();
        if of_key.by_grantee.get_mut(&grantee).is_some_and(|grants| grants.unfile(&old)) {
            of_key.by_grantee.remove(&grantee);
        }
        unfile(&mut of_key.by_name, old.terms.name.clone(), &id);
        unfile(&mut self.by_retiring, old.terms.retiring.as_ref().map(Party::index_key), &(key, id));
        if of_key.all.is_empty() {
            self.keys.remove(&key);
        }
    }
}

impl GrantsOfGrantee {
    /// Whatever may allow such a request.
    fn candidates<'a>(
        &'a self,
        operation: GrantOperation,
        facts: ConstraintFacts<'a>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Grant>> + 'a> {
        let pairs = match (operation, facts) {
            (GrantOperation::DescribeKey | GrantOperation::RetireGrant, _) => return Box::new(self.free.values()),
            (_, ConstraintFacts::Context(context)) => Some(context.pairs()),
            // A grant can be passed on under its own demands, and more.
            (_, ConstraintFacts::Child(terms)) => terms.constraints.pairs(),
            (_, ConstraintFacts::Bare) => None,
        };
        let pairs = pairs.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        let demanding = pairs.filter_map(|pair| self.demanding.get(&pair)).flat_map(BTreeMap::values);
        Box::new(self.undemanding.values().chain(demanding))
    }

    fn file(&mut self, id: GrantId, grant: &Arc<Grant>) {
        self.all.insert(id, Arc::clone(grant));
        if is_free(grant) {
            self.free.insert(id, Arc::clone(grant));
        }
        // Under the pair that tells it apart best: many may have one in common.
        let crowd = |pair: &ContextPair| self.demanding.get(pair).map_or(0, BTreeMap::len);
        let grants = match pairs(grant).min_by_key(crowd) {
            Some(pair) => self.demanding.entry(pair).or_default(),
            None => &mut self.undemanding,
        };
        grants.insert(id, Arc::clone(grant));
    }

    /// Takes a grant out; whether it was the last.
    fn unfile(&mut self, grant: &Grant) -> bool {
        self.all.remove(&grant.id);
        self.free.remove(&grant.id);
        self.undemanding.remove(&grant.id);
        for pair in pairs(grant) {
            if self
                .demanding
                .get_mut(&pair)
                .is_some_and(|grants| grants.remove(&grant.id).is_some() && grants.is_empty())
            {
                self.demanding.remove(&pair);
            }
        }
        self.all.is_empty()
    }
}

fn is_free(grant: &Grant) -> bool {
    [GrantOperation::DescribeKey, GrantOperation::RetireGrant].iter().any(|free| grant.terms.operations.contains(free))
}

/// The pairs that a grant demands of an encryption context.
fn pairs(grant: &Grant) -> impl Iterator<Item = ContextPair> {
    let pairs = grant.terms.constraints.pairs().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.clone()))
}

fn beyond<Id: Ord>(grants: &BTreeMap<Id, Arc<Grant>>, after: Option<Id>) -> impl Iterator<Item = &Arc<Grant>> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    grants.range((start, Bound::Unbounded)).map(|(_, grant)| grant)
}

fn file<Id: Ord>(filed: &mut GrantsByText<Id>, under: Option<String>, id: Id, grant: &Arc<Grant>) {
    if let Some(name) = under {
        filed.entry(name).or_default().insert(id, Arc::clone(grant));
    }
}

fn unfile<Id: Ord>(filed: &mut GrantsByText<Id>, under: Option<String>, id: &Id) {
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
        key::{
            context::EncryptionContext,
            grant::{Constraints, ContextConstraint, Terms},
        },
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

    fn granted(grants: &[Arc<Grant>]) -> GrantIndex {
        let mut granted = GrantIndex::default();
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
            let wish = (GrantOperation::Sign, ConstraintFacts::Bare);
            assert!(granted.find(key(1), &caller, wish, &note).is_none());
            assert_eq!(seen.into_inner(), expected, "{caller}");
            assert!(granted.find(key(2), &caller, wish, &|_| true).is_none());
        }
    }

    fn context(pairs: &str) -> BTreeMap<String, String> {
        pairs.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Grants to Ada of every kind of constraint, each with and without what has no context.
    fn of_all_kinds() -> Vec<Arc<Grant>> {
        let contexts = ["", "a=1", "b=2", "a=1 b=2", "a=1 b=3"].map(context);
        let constraints = contexts.iter().flat_map(|pairs| {
            [ContextConstraint::Equals(pairs.clone()), ContextConstraint::Subset(pairs.clone())].map(Some)
        });
        let operations = [
            &[GrantOperation::Encrypt, GrantOperation::CreateGrant][..],
            &[GrantOperation::Encrypt, GrantOperation::DescribeKey],
            &[GrantOperation::DescribeKey],
        ];
        let kinds = constraints.chain([None]).flat_map(|context| operations.map(|list| (context.clone(), list)));
        let grants = kinds.enumerate().map(|(n, (context, list))| {
            let mut grant = Grant::clone(&grant(u8::try_from(n).expect("few"), ADA, None, None));
            grant.terms.operations = list.iter().copied().collect();
            grant.terms.constraints.context = context;
            Arc::new(grant)
        });
        grants.collect()
    }

    #[test]
    fn whatever_allows_is_found() {
        let grants = of_all_kinds();
        let ada = Principal::try_from(ADA.to_owned()).expect("a principal");
        let contexts = ["", "a=1", "b=2", "a=1 b=2", "a=1 b=2 c=3", "a=2", "b=3"].map(context);
        let contexts = contexts.map(|pairs| EncryptionContext::new(pairs).expect("short"));
        let facts = contexts
            .iter()
            .map(ConstraintFacts::Context)
            .chain(grants.iter().map(|grant| ConstraintFacts::Child(&grant.terms)));
        let mut found = 0;
        for facts in facts.chain([ConstraintFacts::Bare]) {
            for operation in [GrantOperation::Encrypt, GrantOperation::DescribeKey, GrantOperation::CreateGrant] {
                for grant in &grants {
                    let allows = |grant: &Grant| grant.allows(&ada, operation, facts).is_some();
                    let granted = granted(std::slice::from_ref(grant));
                    let one = granted.find(key(1), &ada, (operation, facts), &allows);
                    assert_eq!(one.is_some(), allows(grant), "{operation} {facts:?} {grant:?}");
                    found += usize::from(one.is_some());
                }
            }
        }
        assert!(found > 100, "{found}");
    }

    #[test]
    fn many_grants_with_a_pair_in_common_are_told_apart_by_another() {
        let grants: Vec<_> = (0..100)
            .map(|n| {
                let mut grant = Grant::clone(&grant(n, ADA, None, None));
                grant.terms.constraints.context = Some(ContextConstraint::Subset(context(&format!("app=x id={n}"))));
                Arc::new(grant)
            })
            .collect();
        let granted = granted(&grants);
        let asked = std::cell::Cell::new(0);
        let count = |_: &Grant| {
            asked.set(asked.get() + 1);
            false
        };
        let ada = Principal::try_from(ADA.to_owned()).expect("a principal");
        let given = EncryptionContext::new(context("app=x id=77")).expect("short");
        granted.find(key(1), &ada, (GrantOperation::Encrypt, ConstraintFacts::Context(&given)), &count);
        assert!((1..=4).contains(&asked.get()), "{} of 100", asked.get());
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let grants = of_all_kinds();
        let mut granted = granted(&grants);
        assert_eq!(granted.count(key(1)), grants.len());
        grants.iter().for_each(|grant| granted.put(key(1), grant.id, None));
        assert!(granted.keys.is_empty());
        let mut of_ada = GrantsOfGrantee::default();
        grants.iter().for_each(|grant| of_ada.file(grant.id, grant));
        let last: Vec<_> = grants.iter().filter(|grant| of_ada.unfile(grant)).collect();
        assert_eq!(last, [&grants[grants.len() - 1]]);
        assert!(of_ada.demanding.is_empty() && of_ada.undemanding.is_empty() && of_ada.free.is_empty());
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
