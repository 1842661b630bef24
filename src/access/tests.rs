//! Who gets which proof, and what a proof gives.

use std::cell::Cell;

use super::*;
use crate::key::{
    custom_store::{ConnectionState, KeyStoreId},
    grant::{Constraints, Party, Terms},
    material::Keeping,
};

const REGION: &str = "eu-test-1";
const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}"#;

fn account() -> AccountId {
    AccountId::try_from("111122223333".to_owned()).expect("digits")
}

fn id(n: u8) -> KeyId {
    KeyId::from_parts(false, [n; 16])
}

fn ada(policy: Option<&str>) -> Caller {
    let compile = |text: &str| Arc::new(Document::identity_policy(text).expect("a policy"));
    let principal = Principal::try_from("arn:aws:iam::111122223333:user/ada".to_owned()).expect("a principal");
    Caller { principal, policies: policy.into_iter().map(compile).collect() }
}

fn grant(key: KeyId, region: &str) -> Arc<Grant> {
    let terms = Terms {
        grantee: Party::Principal(ada(None).principal),
        retiring: None,
        operations: [GrantOperation::Sign, GrantOperation::RetireGrant].into(),
        constraints: Constraints::default(),
        name: None,
    };
    let (id, region, created) = (GrantId([9; 32]), region.to_owned(), Timestamp::from_ms(0));
    Arc::new(Grant { id, key, region, terms, created, issuer: account() })
}

fn resolved() -> Resolved {
    found(key(KeySpec::EccNistP256, KeyUsage::SignVerify))
}

fn key(spec: KeySpec, usage: KeyUsage) -> Key {
    let policy = policy::default_key_policy("aws", &account());
    Key::new(id(1), REGION, (spec, usage), policy, Timestamp::from_ms(0))
}

fn found(key: Key) -> Resolved {
    let realm = Realm { partition: "aws".into(), account: account(), region: REGION.into() };
    let policy = Document::key_policy(key.policy()).expect("a policy");
    Resolved::new(Arc::new(KeyEntry { key, policy: Arc::new(policy) }), None, &realm)
}

/// The key, which its account has made available for encryption, with a material.
fn encrypting(spec: KeySpec, change: impl FnOnce(&mut Key)) -> Authorized {
    let mut key = key(spec, KeyUsage::EncryptDecrypt);
    key.put_first(material());
    change(&mut key);
    let authorized = asking(ada(Some(ALLOW)), |asking| found(key).authorize(asking, Action::Encrypt));
    authorized.unwrap_or_else(|error| panic!("{error}"))
}

fn material() -> Material {
    let keeping = Keeping::Token { cka_id: vec![1; 16], member: None };
    let (spec, usage) = (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
    Material { id: MaterialId([1; 32]), spec, usage, keeping, public_key: None }
}

fn code<T>(result: Result<T, KmsError>) -> Option<Code> {
    result.err().map(|error| error.code)
}

/// A request of this caller that says nothing more.
fn asking<T>(caller: Caller, decide: impl FnOnce(&Asking<'_>) -> T) -> T {
    let (request, client) = (RequestFacts::default(), Client::default());
    decide(&Asking { caller: &caller, request: &request, client: &client, time: Timestamp::from_ms(0) })
}

#[test]
fn a_permission_is_for_its_action_alone() {
    let key = asking(ada(Some(ALLOW)), |asking| resolved().authorize(asking, Action::GetPublicKey));
    let key = key.unwrap_or_else(|error| panic!("{error}"));
    assert!(key.demand_action(&[Action::DescribeKey, Action::GetPublicKey]).is_ok());
    let refused = key.demand_action(&[Action::Sign]).err();
    assert_eq!(refused.map(|error| error.code), Some(Code::KMSInternalException));
    let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha1);
    let usable = usable.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(code(usable.material_for(&[Action::Encrypt])), None);
    assert_eq!(code(usable.material_for(&[Action::Decrypt])), Some(Code::KMSInternalException));
}

#[test]
fn conditions_see_context_and_algorithm_of_an_encryption() {
    let context = Arc::new(crate::key::context::EncryptionContext::default());
    let facts = RequestFacts::of_encryption(&context, EncryptionAlgorithm::RsaesOaepSha1);
    assert!(facts.encryption_context.is_some());
    assert_eq!(facts.encryption_algorithm, Some(EncryptionAlgorithm::RsaesOaepSha1));
}

#[test]
fn a_key_is_called_by_its_arn_at_every_step() {
    let arn = "arn:aws:kms:eu-test-1:111122223333:key/01010101-0101-0101-0101-010101010101";
    assert_eq!(resolved().arn(), arn);
    let authorized = encrypting(KeySpec::Rsa2048, |_| ());
    assert_eq!(authorized.arn(), arn);
    let usable = authorized.usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha256);
    assert_eq!(usable.ok().as_ref().map(Usable::arn), Some(arn));
}

#[test]
fn what_no_key_policy_has_a_say_in_is_allowed_by_the_callers_own() {
    for (policy, expected) in [(None, Some(Code::AccessDeniedException)), (Some(ALLOW), None)] {
        let allowed = asking(ada(policy), |asking| asking.authorize(Action::ListKeys, Resource::Any));
        assert_eq!(code(allowed), expected);
    }
}

#[test]
fn a_policy_that_shuts_its_author_out_is_told_from_one_that_does_not() {
    let arn = resolved().arn().to_owned();
    for (principal, keeps) in [("arn:aws:iam::111122223333:root", true), ("arn:aws:iam::111122223333:user/bob", false)]
    {
        let statement =
            format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"*","Resource":"*"}}"#);
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let policy = Document::key_policy(&policy).expect("a policy");
        assert_eq!(asking(ada(Some(ALLOW)), |asking| asking.keeps_control(&policy, &arn, &account())), keeps);
    }
}

#[test]
fn conditions_see_the_alias_that_a_key_was_found_by() {
    let alias_of = |resolved: Resolved| {
        asking(ada(None), |asking| resolved.request(asking, Action::Sign).facts.alias.map(str::to_owned))
    };
    assert_eq!(alias_of(resolved()), None);
    assert_eq!(alias_of(resolved().by_alias("alias/a")).as_deref(), Some("alias/a"));
}

#[test]
fn a_key_is_used_for_its_usage_while_it_is_enabled_with_an_algorithm_of_its_spec() {
    let (usage, other) = (KeyUsage::EncryptDecrypt, KeyUsage::SignVerify);
    let enabled = || encrypting(KeySpec::Rsa2048, |_| ());
    let disabled = || encrypting(KeySpec::Rsa2048, Key::disable);
    assert_eq!(code(enabled().demand(Demand::Use)), None);
    assert_eq!(code(disabled().demand(Demand::Use)), Some(Code::DisabledException));
    assert_eq!(code(enabled().demand_usage("Encrypt", usage)), None);
    assert_eq!(code(enabled().demand_usage("Sign", other)), Some(Code::InvalidKeyUsageException));
    assert_eq!(code(disabled().demand_usage("Encrypt", usage)), Some(Code::DisabledException));
    let (fits, does_not) = (EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::SymmetricDefault);
    assert_eq!(code(enabled().usable("Encrypt", fits)), None);
    assert_eq!(code(enabled().usable("Encrypt", does_not)), Some(Code::InvalidKeyUsageException));
    assert_eq!(code(disabled().usable("Encrypt", fits)), Some(Code::DisabledException));
}

#[test]
fn a_key_in_a_custom_key_store_is_available_while_that_is_connected() {
    for (connection, state) in
        [(ConnectionState::Connected, KeyState::Enabled), (ConnectionState::Disconnected, KeyState::Unavailable)]
    {
        let key_store = Some(Arc::new(key_store(connection)));
        let resolved = Resolved { key_store, ..resolved() };
        let key = asking(ada(Some(ALLOW)), |asking| resolved.authorize(asking, Action::Sign));
        let key = key.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(key.key_store().map(|key_store| key_store.state), Some(connection));
        assert_eq!(key.state(), state);
    }
}

fn key_store(state: ConnectionState) -> CustomKeyStore {
    CustomKeyStore {
        id: KeyStoreId::random(),
        region: REGION.to_owned(),
        name: "ours".to_owned(),
        cluster: "cluster-2abcdefghij".to_owned(),
        trust_anchor: String::new(),
        sealed_password: Vec::new(),
        state,
        error: None,
        connection: 1,
        created: Timestamp::from_ms(0),
    }
}

#[test]
fn a_blob_is_opened_with_the_material_that_it_names() {
    let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Decrypt", EncryptionAlgorithm::RsaesOaepSha1);
    let usable = usable.unwrap_or_else(|error| panic!("{error}"));
    let named = |id, actions: &[Action]| usable.material_named(MaterialId([id; 32]), actions).ok().flatten();
    assert_eq!(named(1, &[Action::Encrypt]).map(|material| material.id), Some(MaterialId([1; 32])));
    assert!(named(2, &[Action::Encrypt]).is_none());
    assert!(named(1, &[Action::Decrypt]).is_none(), "by a permission for another action");
}

/// RFC 8017, section 7.1.1: a modulus of 256 bytes, less two hashes of 32 bytes and two bytes.
#[test]
fn the_longest_plaintext_fits_and_no_longer_one() {
    let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha256);
    let usable = usable.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!([0, 190, 191].map(|bytes| code(usable.fits(bytes))), [None, None, Some(Code::ValidationException)]);
}

#[test]
fn a_denial_has_its_reason() {
    for (policy, reason) in [(None, "NoIdentityPolicyAllows"), (Some(DENY), "ExplicitDenyInIdentityPolicy")] {
        let refused = asking(ada(policy), |asking| resolved().authorize(asking, Action::Sign)).err();
        assert_eq!(refused.and_then(|error| error.denial), Some(reason));
    }
}

#[test]
fn a_grant_is_asked_for_where_policies_are_silent_only() {
    for (policy, asks, allowed_by) in
        [(None, true, Some(Some(GrantId([9; 32])))), (Some(ALLOW), false, Some(None)), (Some(DENY), false, None)]
    {
        let asked = Cell::new(false);
        let find = |_: &dyn Fn(&Grant) -> bool| {
            asked.set(true);
            Some(grant(id(1), REGION))
        };
        let use_it = |asking: &Asking<'_>| resolved().authorize_use(asking, GrantOperation::Sign, find);
        let authorized = asking(ada(policy), use_it);
        assert_eq!(authorized.ok().map(|key| key.grant()), allowed_by, "{policy:?}");
        assert_eq!(asked.get(), asks, "{policy:?}");
    }
}

#[test]
fn a_grant_of_another_key_allows_nothing_here_whoever_found_it() {
    for (other, operation) in [
        (grant(id(2), REGION), GrantOperation::Sign),
        (grant(id(1), "eu-other-1"), GrantOperation::Sign),
        (grant(id(1), REGION), GrantOperation::Verify),
    ] {
        let find = |wanted: &dyn Fn(&Grant) -> bool| {
            assert!(!wanted(&other));
            Some(Arc::clone(&other))
        };
        let refused = asking(ada(None), |asking| resolved().authorize_use(asking, operation, find)).err();
        assert_eq!(refused.map(|error| error.code), Some(Code::AccessDeniedException));
    }
}

#[test]
fn a_grant_is_retired_with_its_own_key() {
    for (policy, of, may) in [
        (None, grant(id(1), REGION), true),
        (None, grant(id(2), REGION), false),
        (Some(ALLOW), grant(id(1), "eu-other-1"), false),
        (Some(DENY), grant(id(1), REGION), false),
    ] {
        let retires = asking(ada(policy), |asking| resolved().authorize_retirement(asking, &of));
        assert_eq!(retires.is_ok(), may, "{policy:?} {of:?}");
    }
}
