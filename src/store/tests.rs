//! The store against a database in a directory of its own. Two handles on one file stand for two processes.

use std::{collections::BTreeMap, error::Error, os::unix::fs::PermissionsExt, path::PathBuf, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    access::KeyEntry,
    arn::{AccountId, Realm},
    clock::{self, Moment, Running, Timestamp},
    key::{
        Key,
        alias::Alias,
        grant::{Constraints, Grant, GrantId, GrantOperation, Party, Terms},
        importing::ImportOptions,
        material::{Keeping, Material, MaterialId, WrapMechanism},
        multi_region::Family,
        reference::KeyId,
        rotation::RotationCause,
        spec::{KeySpec, KeyUsage},
        tombstone::Tombstone,
    },
    principal::Principal,
};

/// Nobody has anything against a change.
fn free() -> Result<(), std::convert::Infallible> {
    Ok(())
}

/// When keys are deleted.
const MOMENT: Moment = Moment { now: Timestamp::from_ms(9), running: Running::from_ms(5) };
const REGION: &str = "eu-west-1";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}"#;
const IDENTITY_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;

struct World {
    directory: tempfile::TempDir,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("data/strongroom.db")).await.expect("a store");
        Self { directory, store }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data/strongroom.db")
    }

    /// Another process on the same file.
    async fn other(&self) -> Store {
        Store::open(&self.path()).await.expect("a store")
    }

    /// Deletes a key.
    async fn delete(&self, id: KeyId) {
        let deleted = self.store.delete_key(REGION, id, MOMENT, |key, _| Some(tombstone(key))).await;
        assert_eq!(deleted.expect("asked").expect("there").id, id);
    }

    /// A key that is stored.
    async fn key(&self) -> Key {
        let key = key(id(1));
        self.store.insert_key(&Unrecorded, &key, free).await.expect("stored");
        key
    }
}

fn id(n: u8) -> KeyId {
    KeyId::from_parts(false, [n; 16])
}

fn material(keeping: Keeping) -> Material {
    let (spec, usage) = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    Material { id: MaterialId([7; 32]), spec, usage, keeping, public_key: None }
}

fn new_key(id: KeyId, policy: &str) -> Key {
    let kind = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    Key::new(id, REGION, kind, policy.into(), Timestamp::from_ms(1))
}

fn key(id: KeyId) -> Key {
    let mut key = new_key(id, POLICY);
    key.put_first(material(Keeping::Token { cka_id: vec![9; 16], member: None }));
    key
}

/// Has the material of a key expire at that time.
fn expire(key: &mut Key, ms: i64) {
    let expiry = Moment { now: Timestamp::from_ms(ms), running: Running::from_ms(5) };
    let options = ImportOptions { is_new: Some(false), expiry: Some(expiry), description: None, material_id: None };
    let material = Arc::clone(&key.materials()[0]);
    key.import(&mut Family::new(), &material, &options, Timestamp::from_ms(0), "the key").expect("imported");
}

/// The key with another value in its document, past all rules.
fn edited(key: &Key, pointer: &str, value: Value) -> Key {
    let mut document = serde_json::to_value(key).expect("JSON");
    *document.pointer_mut(pointer).expect("a member") = value;
    serde_json::from_value(document).expect("a key")
}

fn tombstone(key: &Key) -> Tombstone {
    let account = AccountId::try_from("111122223333".to_owned()).expect("digits");
    let realm = Realm { partition: "aws".to_owned(), account, region: key.region().to_owned() };
    Tombstone::of(key, &[], &realm, Timestamp::from_ms(9))
}

fn alias(name: &str, target: KeyId) -> Alias {
    let now = Timestamp::from_ms(2);
    Alias { name: format!("alias/{name}").into(), region: REGION.into(), target, created: now, updated: now }
}

fn grant(n: u8, name: Option<&str>) -> Grant {
    let terms = Terms {
        grantee: Party::Principal(principal()),
        retiring: None,
        operations: [GrantOperation::Encrypt].into(),
        constraints: Constraints::default(),
        name: name.map(str::to_owned),
    };
    let issuer = principal().account().clone();
    let created = Timestamp::from_ms(5);
    Grant { id: GrantId([n; 32]), key: id(1), region: REGION.into(), terms, created, issuer }
}

fn principal() -> Principal {
    Principal::try_from("arn:aws:iam::111122223333:user/alice".to_owned()).expect("a principal")
}

fn record_of_principal() -> PrincipalRecord {
    PrincipalRecord { principal: principal(), policies: BTreeMap::new(), created: Timestamp::from_ms(3) }
}

fn access_key() -> AccessKey {
    AccessKey {
        id: "AKIDEXAMPLE".into(),
        principal: principal(),
        enabled: true,
        created: Timestamp::from_ms(4),
        sealed_secret: vec![0, 255],
    }
}

fn intent(n: u8, made: u64) -> Intent {
    Intent {
        region: REGION.into(),
        key: id(1),
        spec: KeySpec::SymmetricDefault,
        cka_id: [n; 16],
        key_store: None,
        made: Running::from_ms(made),
    }
}

fn describe(text: &str) -> impl Fn(&mut Key) -> Result<(), ()> + use<> {
    let text = text.to_owned();
    move |key| {
        key.describe(&text);
        Ok(())
    }
}

fn names(aliases: &[Arc<Alias>]) -> Vec<&str> {
    aliases.iter().map(|alias| &*alias.name).collect()
}

#[tokio::test]
async fn a_new_store_finds_everything_again() {
    let world = World::new().await;
    let key = world.key().await;
    let (record, access_key) = (record_of_principal(), access_key());
    let store = &world.store;
    assert_eq!(
        store.insert_alias(&Unrecorded, &alias("a", key.id()), 9, free).await.expect("asked"),
        AliasInsert::Done
    );
    assert!(store.insert_principal(&Unrecorded, &record).await.expect("asked"));
    assert!(!store.insert_principal(&Unrecorded, &record).await.expect("asked"), "it is there already");
    let (owner, attach) = (principal(), |arn, text| store.attach_policy(&Unrecorded, arn, "all", text));
    assert_eq!(attach(owner.arn(), "{").await.expect("asked"), Some(None));
    assert_eq!(attach(owner.arn(), IDENTITY_POLICY).await.expect("asked"), Some(Some("{".to_owned())));
    assert_eq!(attach("arn:nobody", "{").await.expect("asked"), None);
    store.insert_access_key(&Unrecorded, &access_key).await.expect("stored");

    for store in [store.clone(), world.other().await] {
        let view = store.view();
        assert_eq!(view.key(REGION, key.id()).expect("there").key, key);
        assert!(view.key("us-east-1", key.id()).is_none());
        assert_eq!(*view.alias(REGION, "alias/a").expect("there"), alias("a", key.id()));
        let entry = view.principal(principal().arn()).expect("there");
        assert_eq!((entry.record.policies.len(), entry.policies.len()), (1, 1));
        assert_eq!(*view.access_key("AKIDEXAMPLE").expect("there"), access_key);
        assert_eq!((view.principals().len(), view.access_keys().len()), (1, 1));
    }
}

#[tokio::test]
async fn the_deployment_is_made_once() {
    let world = World::new().await;
    assert_eq!(world.store.deployment().await.expect("asked"), None);
    let deployment = Deployment {
        id: uuid::Uuid::nil(),
        account: AccountId::try_from("111122223333".to_owned()).expect("digits"),
        created: Timestamp::from_ms(0),
        service_material: material(Keeping::Token { cka_id: vec![1; 16], member: None }),
        successors: Vec::new(),
    };
    world.store.insert_deployment(&deployment).await.expect("stored");
    let other = world.other().await;
    assert_eq!(other.insert_deployment(&deployment).await.expect_err("made before").kind, StoreErrorKind::Conflict);
    assert_eq!(other.deployment().await.expect("asked"), Some(deployment));
}

#[tokio::test]
async fn a_key_is_changed_or_refused_or_gone() {
    let world = World::new().await;
    let id = world.key().await.id();
    let again = world.store.insert_key(&Unrecorded, &key(id), free).await.expect_err("there already");
    assert!(matches!(again, ChangeError::Store(error) if error.kind == StoreErrorKind::Conflict));

    let changed = world.store.change_key(&Unrecorded, REGION, id, describe("new")).await.expect("changed");
    assert_eq!(changed.description(), "new");
    assert_eq!(world.store.view().key(REGION, id).expect("there").key, changed);

    let refusal = |key: &mut Key| {
        key.describe("never seen");
        Err("refused")
    };
    let refused = world.store.change_key(&Unrecorded, REGION, id, refusal).await;
    assert!(matches!(refused, Err(ChangeError::Refused("refused"))));
    assert_eq!(world.store.view().key(REGION, id).expect("there").key.description(), "new");

    world.delete(id).await;
    let gone = world.store.change_key(&Unrecorded, REGION, id, describe("late")).await;
    assert!(matches!(gone, Err(ChangeError::NotFound)));
    assert!(world.store.view().key(REGION, id).is_none());
}

#[tokio::test]
async fn a_change_is_decided_on_what_is_stored_and_nobody_writes_meanwhile() {
    let world = World::new().await;
    let (id, other) = (world.key().await.id(), world.other().await);
    other.change_key(&Unrecorded, REGION, id, describe("theirs")).await.expect("changed");
    let shown = || world.store.view().key(REGION, id).expect("there").key.description().to_owned();
    assert_eq!(shown(), "", "nobody has followed the feed yet");
    let changed = world.store.change_key(&Unrecorded, REGION, id, |key| {
        assert_eq!((shown().as_str(), key.description()), ("theirs", "theirs"));
        assert!(!is_writable(&world.path()), "somebody else can write");
        key.describe("theirs and ours");
        Ok::<(), ()>(())
    });
    assert_eq!(changed.await.expect("changed").description(), "theirs and ours");
    assert!(is_writable(&world.path()));
}

/// True if another process can begin a change now.
fn is_writable(path: &Path) -> bool {
    outside(path, "BEGIN IMMEDIATE; ROLLBACK", Duration::ZERO).is_ok()
}

/// One statement from outside, on a thread and runtime of its own.
fn raw_write(path: &Path, text: &'static str) {
    outside(path, text, Duration::from_secs(5)).expect("executed");
}

fn outside(path: &Path, text: &'static str, patience: Duration) -> Result<(), sqlx::Error> {
    let path = path.to_owned();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(patience);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            sqlx::raw_sql(text).execute(&mut connection).await.map(drop)
        })
    };
    std::thread::spawn(run).join().expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_lose_no_change() {
    let world = World::new().await;
    let id = world.key().await.id();
    let mut tasks = tokio::task::JoinSet::new();
    for store in [world.store.clone(), world.other().await] {
        for _ in 0..10 {
            let store = store.clone();
            tasks.spawn(async move {
                let append = |key: &mut Key| {
                    key.describe(&format!("{}x", key.description()));
                    Ok::<(), ()>(())
                };
                store.change_key(&Unrecorded, REGION, id, append).await.expect("changed");
            });
        }
    }
    tasks.join_all().await;
    world.store.follow().await.expect("followed");
    assert_eq!(world.store.view().key(REGION, id).expect("there").key.description().len(), 20);
}

#[tokio::test]
async fn the_feed_shows_what_the_other_process_did() {
    let world = World::new().await;
    let other = world.other().await;
    let id = world.key().await.id();
    assert!(other.view().key(REGION, id).is_none());
    assert_eq!(other.follow().await.expect("followed"), 1);
    assert!(other.view().key(REGION, id).is_some());
    assert_eq!(other.follow().await.expect("followed"), 0);

    world.store.insert_alias(&Unrecorded, &alias("a", id), 9, free).await.expect("asked");
    world.store.change_key(&Unrecorded, REGION, id, describe("1")).await.expect("changed");
    world.store.change_key(&Unrecorded, REGION, id, describe("2")).await.expect("changed");
    assert_eq!(other.follow().await.expect("followed"), 2, "one for each document, however often it changed");
    assert_eq!(other.view().key(REGION, id).expect("there").key.description(), "2");

    world.delete(id).await;
    other.follow().await.expect("followed");
    assert!(other.view().key(REGION, id).is_none());
    assert!(other.view().alias(REGION, "alias/a").is_none());
    assert!(other.view().aliases_after(REGION, Some(id), None, 9).is_empty());
}

#[tokio::test]
async fn an_access_key_is_disabled_from_another_process() {
    let world = World::new().await;
    let (record, access_key) = (record_of_principal(), access_key());
    world.store.insert_principal(&Unrecorded, &record).await.expect("stored");
    world.store.insert_access_key(&Unrecorded, &access_key).await.expect("stored");
    let cli = world.other().await;
    assert!(cli.disable_access_key(&Unrecorded, "AKIDEXAMPLE").await.expect("asked"));
    assert!(!cli.disable_access_key(&Unrecorded, "AKIDOTHER").await.expect("asked"));
    world.store.follow().await.expect("followed");
    assert!(!world.store.view().access_key("AKIDEXAMPLE").expect("there").enabled);
}

#[tokio::test]
async fn what_was_given_can_be_taken() {
    let world = World::new().await;
    let store = &world.store;
    let (record, access_key) = (record_of_principal(), access_key());
    let early = store.insert_access_key(&Unrecorded, &access_key).await;
    assert!(matches!(early, Err(ChangeError::NotFound)), "whose it is must be there");
    store.insert_principal(&Unrecorded, &record).await.expect("stored");
    store.insert_access_key(&Unrecorded, &access_key).await.expect("stored");
    let taken = store.insert_access_key(&Unrecorded, &access_key).await;
    assert!(matches!(taken, Err(ChangeError::Refused(AccessKeyTaken))));

    let days = |day: &str| [("AKIDEXAMPLE", day), ("AKIDOTHER", day)].map(|(id, day)| (id.to_owned(), day.to_owned()));
    for day in ["20260101", "20260103", "20260102"] {
        store.store_access_key_days(&days(day).into()).await.expect("stored");
    }
    let known = store.access_key_days().await.expect("read");
    assert_eq!(known, [("AKIDEXAMPLE".to_owned(), "20260103".to_owned())].into());

    store.attach_policy(&Unrecorded, principal().arn(), "all", IDENTITY_POLICY).await.expect("asked");
    store.detach_policy(&Unrecorded, principal().arn(), "all").await.expect("detached");
    let again = store.detach_policy(&Unrecorded, principal().arn(), "all").await;
    assert!(matches!(again, Err(ChangeError::Refused(NoSuchPolicy))));

    let refused = store.delete_principal(&Unrecorded, principal().arn()).await;
    let ids = vec!["AKIDEXAMPLE".to_owned()];
    assert!(matches!(refused, Err(ChangeError::Refused(HasAccessKeys(still))) if still == ids));
    assert!(store.delete_access_key(&Unrecorded, "AKIDEXAMPLE").await.expect("asked"));
    assert!(!store.delete_access_key(&Unrecorded, "AKIDEXAMPLE").await.expect("asked"));
    store.delete_principal(&Unrecorded, principal().arn()).await.expect("deleted");
    assert!(matches!(store.delete_principal(&Unrecorded, principal().arn()).await, Err(ChangeError::NotFound)));
    assert!(store.access_key_days().await.expect("read").is_empty());
    for store in [store.clone(), world.other().await] {
        assert!(store.view().principals().is_empty() && store.view().access_keys().is_empty());
    }
}

#[tokio::test]
async fn freshness_grows_until_the_feed_is_read() {
    let world = World::new().await;
    let start = Instant::now();
    while world.store.freshness() < Duration::from_millis(20) {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    let before = Instant::now();
    world.store.follow().await.expect("followed");
    assert!(world.store.freshness() <= before.elapsed() + Duration::from_millis(1));
}

#[tokio::test]
async fn aliases_go_to_keys_that_are_there_and_have_room() {
    let world = World::new().await;
    let first = world.key().await.id();
    let second = id(2);
    let store = &world.store;
    let insert = |name, target| async move {
        store.insert_alias(&Unrecorded, &alias(name, target), 2, free).await.expect("asked")
    };
    assert_eq!(insert("a", second).await, AliasInsert::TargetGone);
    store.insert_key(&Unrecorded, &key(second), free).await.expect("stored");
    assert_eq!(insert("a", first).await, AliasInsert::Done);
    assert_eq!(insert("a", second).await, AliasInsert::NameTaken);
    assert_eq!(insert("b", first).await, AliasInsert::Done);
    assert_eq!(insert("c", first).await, AliasInsert::TooMany);
    assert_eq!(insert("c", second).await, AliasInsert::Done);

    let later = Timestamp::from_ms(9);
    let go = |name, target| async move {
        store
            .move_alias(&Unrecorded, AliasName { region: REGION, name }, (target, later), 2, free)
            .await
            .expect("asked")
    };
    assert_eq!(go("alias/c", first).await, AliasMove::TooMany);
    assert_eq!(go("alias/a", first).await, AliasMove::Done, "it is there already and takes no more room");
    assert_eq!(go("alias/a", id(3)).await, AliasMove::TargetGone);
    assert_eq!(go("alias/x", first).await, AliasMove::NotFound);
    assert_eq!(go("alias/a", second).await, AliasMove::Done);

    let moved = store.view().alias(REGION, "alias/a").expect("there");
    assert_eq!((moved.target, moved.created, moved.updated), (second, Timestamp::from_ms(2), later));
    assert_eq!(names(&store.view().aliases_after(REGION, Some(first), None, 9)), ["alias/b"]);
    assert_eq!(names(&store.view().aliases_after(REGION, Some(second), None, 9)), ["alias/a", "alias/c"]);
    assert!(store.delete_alias(&Unrecorded, AliasName { region: REGION, name: "alias/a" }, free).await.expect("asked"));
    assert!(
        !store.delete_alias(&Unrecorded, AliasName { region: REGION, name: "alias/a" }, free).await.expect("asked")
    );
    assert_eq!(names(&store.view().aliases_after(REGION, None, None, 9)), ["alias/b", "alias/c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_unique_and_limits_hold_when_all_come_at_once() {
    let world = World::new().await;
    let target = world.key().await.id();
    let mut tasks = tokio::task::JoinSet::new();
    for store in [world.store.clone(), world.other().await] {
        for n in 0..10 {
            let store = store.clone();
            tasks.spawn(async move {
                store.insert_alias(&Unrecorded, &alias(&n.to_string(), target), 5, free).await.expect("asked")
            });
        }
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AliasInsert::Done).count(), 5);
    assert_eq!(world.other().await.view().aliases_after(REGION, None, None, 99).len(), 5);
}

#[tokio::test]
async fn a_key_clears_the_intents_of_the_objects_it_names() {
    let world = World::new().await;
    let store = &world.store;
    for intent in [intent(9, 10), intent(8, 20), intent(7, 30)] {
        store.intend(Asker::SERVICE, &intent).await.expect("stored");
    }
    assert_eq!(
        store.intend(Asker::SERVICE, &intent(9, 99)).await.expect_err("meant before").kind,
        StoreErrorKind::Conflict
    );
    let old = |before| async move { store.intents_before(Running::from_ms(before)).await.expect("asked") };
    assert_eq!(old(20).await, [intent(9, 10)]);

    // The key names object 9 when it is made, and object 8 after a rotation.
    world.key().await;
    assert_eq!(old(99).await, [intent(8, 20), intent(7, 30)]);
    let rotate = |key: &mut Key| {
        let material = material(Keeping::Token { cka_id: vec![8; 16], member: None });
        let now = Timestamp::from_ms(0);
        key.rotate(&mut Family::new(), &Arc::new(material), RotationCause::OnDemand, now);
        Ok::<(), ()>(())
    };
    store.change_key(&Unrecorded, REGION, id(1), rotate).await.expect("changed");
    assert_eq!(old(99).await, [intent(7, 30)]);

    world.delete(id(1)).await;
    assert_eq!(old(99).await, [intent(7, 30)], "an object that the key did not name is still to be destroyed");
    store.forget_intent(&intent(7, 30)).await.expect("forgotten");
    assert!(old(99).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_invocation_is_reserved_twice() {
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for store in [world.store.clone(), world.other().await] {
        for _ in 0..20 {
            let store = store.clone();
            tasks.spawn(async move { store.reserve_invocations(MaterialId([1; 32]), 1000).await.expect("reserved") });
        }
    }
    let mut totals = tasks.join_all().await;
    totals.sort_unstable();
    assert_eq!(totals, (1..=40).map(|n| n * 1000).collect::<Vec<u64>>());
    let other = world.other().await.reserve_invocations(MaterialId([2; 32]), 5).await.expect("reserved");
    assert_eq!(other, 5, "each material counts for itself");
    let absurd = world.store.reserve_invocations(MaterialId([2; 32]), u64::MAX).await;
    assert_eq!(absurd.expect_err("refused").kind, StoreErrorKind::Full);
}

#[tokio::test]
async fn pages_are_in_order() {
    let world = World::new().await;
    for n in [3, 1, 5, 2, 4] {
        world.store.insert_key(&Unrecorded, &key(id(n)), free).await.expect("stored");
    }
    let ids = |after, n| -> Vec<KeyId> {
        world.store.view().keys_after(REGION, after, n).iter().map(|entry| entry.key.id()).collect()
    };
    assert_eq!(ids(None, 2), [id(1), id(2)]);
    assert_eq!(ids(Some(id(2)), 2), [id(3), id(4)]);
    assert_eq!(ids(Some(id(4)), 2), [id(5)]);
    assert!(ids(Some(id(5)), 2).is_empty());
    assert!(world.store.view().keys_after("us-east-1", None, 2).is_empty());

    for name in ["b", "a", "c"] {
        world.store.insert_alias(&Unrecorded, &alias(name, id(1)), 9, free).await.expect("asked");
    }
    let view = world.store.view();
    assert_eq!(names(&view.aliases_after(REGION, None, None, 2)), ["alias/a", "alias/b"]);
    assert_eq!(names(&view.aliases_after(REGION, Some(id(1)), Some("alias/a"), 9)), ["alias/b", "alias/c"]);
    assert!(view.aliases_after(REGION, Some(id(2)), None, 9).is_empty());
}

#[tokio::test]
async fn a_key_gives_way_to_its_tombstone() {
    let world = World::new().await;
    let (store, key) = (&world.store, world.key().await);
    store.insert_alias(&Unrecorded, &alias("a", key.id()), 9, free).await.expect("asked");
    assert_eq!(
        store.delete_key(REGION, key.id(), MOMENT, |_, _| None).await.expect("asked"),
        None,
        "it was taken back"
    );
    assert!(store.view().key(REGION, key.id()).is_some() && store.view().alias(REGION, "alias/a").is_some());

    world.delete(key.id()).await;
    assert_eq!(
        store.delete_key(REGION, key.id(), MOMENT, |key, _| Some(tombstone(key))).await.expect("asked"),
        None,
        "it is gone"
    );
    for store in [store.clone(), world.other().await] {
        assert_eq!(store.unfinished_tombstones().await.expect("asked"), [tombstone(&key)]);
    }
    store.finish_tombstone(&Unrecorded, &tombstone(&key), Timestamp::from_ms(10)).await.expect("finished");
    assert!(store.unfinished_tombstones().await.expect("asked").is_empty());
    let finished = Tombstone { remains: Vec::new(), destroyed: Some(Timestamp::from_ms(10)), ..tombstone(&key) };
    assert_eq!(store.tombstones(None).await.expect("asked"), std::slice::from_ref(&finished));
    assert!(store.tombstones(Some(&finished)).await.expect("asked").is_empty());
}

#[tokio::test]
async fn of_a_deleted_key_no_byte_is_left_in_the_files() {
    let world = World::new().await;
    let canary = STANDARD.encode([0xA5; 2000]);
    let keeping =
        Keeping::Wrapped { blob: vec![0xA5; 2000], mechanism: WrapMechanism::AesKeyWrapKwp, wrapping_key: vec![1] };
    let mut key = new_key(id(1), POLICY);
    key.put_first(material(keeping));
    world.store.insert_key(&Unrecorded, &key, free).await.expect("stored");
    let found = || -> Vec<bool> {
        let files = std::fs::read_dir(world.path().parent().expect("a directory")).expect("read");
        let read = |file: std::fs::DirEntry| std::fs::read(file.path()).expect("read");
        let part = &canary.as_bytes()[..64];
        files.map(|file| read(file.expect("a file")).windows(64).any(|window| window == part)).collect()
    };
    assert!(found().contains(&true), "it is found while it is there");
    world.store.change_key(&Unrecorded, REGION, key.id(), describe("longer")).await.expect("changed");
    world.delete(key.id()).await;
    world.store.scrub().await.expect("scrubbed");
    assert_eq!(found().into_iter().filter(|found| *found).count(), 0);
}

#[tokio::test]
async fn keys_are_due_when_their_date_has_come() {
    let world = World::new().await;
    for n in 1..=3 {
        let date = Moment { now: Timestamp::from_ms(i64::from(n) * 100), running: Running::from_ms(5) };
        let mut key = key(id(n));
        key.schedule_deletion(0, date, "");
        world.store.insert_key(&Unrecorded, &key, free).await.expect("stored");
    }
    let due = |now, n| -> Vec<KeyId> {
        let moment = Moment { now: Timestamp::from_ms(now), running: Running::from_ms(5) };
        world.store.view().due_for_deletion(moment, n).iter().map(|entry| entry.key.id()).collect()
    };
    assert!(due(99, 9).is_empty());
    assert_eq!(due(200, 9), [id(1), id(2)]);
    assert_eq!(due(999, 1), [id(1)]);
    let cancel = |key: &mut Key| {
        key.cancel_deletion(Timestamp::from_ms(0));
        Ok::<(), ()>(())
    };
    world.store.change_key(&Unrecorded, REGION, id(1), cancel).await.expect("changed");
    assert_eq!(due(999, 9), [id(2), id(3)]);
}

#[tokio::test]
async fn a_bad_row_stops_only_itself() {
    let world = World::new().await;
    let good = world.key().await.id();
    world.store.insert_key(&Unrecorded, &new_key(id(2), "{"), free).await.expect("stored");
    world.store.insert_key(&Unrecorded, &key(id(3)), free).await.expect("stored");
    world.store.insert_key(&Unrecorded, &key(id(4)), free).await.expect("stored");
    raw_write(&world.path(), "UPDATE documents SET body = '{}' WHERE id LIKE '%03030303'");
    // The body of one key under the name of another.
    raw_write(
        &world.path(),
        "UPDATE documents SET body = (SELECT body FROM documents WHERE id LIKE '%01010101') WHERE id LIKE '%04040404'",
    );

    let store = world.other().await;
    assert!(store.view().key(REGION, good).is_some());
    let denied = store.view().key(REGION, id(2)).expect("there, and all is denied");
    assert!(format!("{:?}", denied.policy).contains("Deny"));
    assert!(store.view().key(REGION, id(3)).is_none());
    assert!(store.view().key(REGION, id(4)).is_none());
    let error = store.change_key(&Unrecorded, REGION, id(3), describe("x")).await.expect_err("unreadable");
    assert!(matches!(error, ChangeError::Store(StoreError { kind: StoreErrorKind::Corrupt, .. })));
}

#[tokio::test]
async fn a_principal_whose_policy_does_not_compile_is_denied() {
    let world = World::new().await;
    let record = PrincipalRecord { principal: principal(), policies: BTreeMap::new(), created: Timestamp::from_ms(3) };
    world.store.insert_principal(&Unrecorded, &record).await.expect("stored");
    world.store.attach_policy(&Unrecorded, principal().arn(), "all", IDENTITY_POLICY).await.expect("asked");
    world.store.attach_policy(&Unrecorded, principal().arn(), "bad", "{").await.expect("asked");
    let entry = world.store.view().principal(principal().arn()).expect("there");
    assert_eq!(entry.policies.len(), 2);
    assert!(format!("{:?}", entry.policies).contains("Deny"));
}

#[tokio::test]
async fn a_feed_of_many_pages_is_read_to_its_end() {
    let world = World::new().await;
    raw_write(
        &world.path(),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO changes (kind, id, seq) SELECT 'key', 'r/' || i, i FROM n",
    );
    assert_eq!(world.store.follow().await.expect("followed"), 2500);
    assert_eq!(world.store.follow().await.expect("followed"), 0);
}

#[tokio::test]
async fn all_that_is_stored_is_found_again_however_many_pages_it_fills() {
    let world = World::new().await;
    let id = world.key().await.id();
    world.store.change_key(&Unrecorded, REGION, id, describe("Schlüssel 🔑")).await.expect("changed");
    raw_write(
        &world.path(),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO documents (kind, id, parent, revision, body) SELECT 'alias', 'eu-west-1/alias/' || i, NULL, 1, \
         json_object('name', 'alias/' || i, 'region', 'eu-west-1', 'target', (SELECT json_extract(body, '$.id') FROM \
         documents WHERE kind = 'key'), 'created', 1, 'updated', 1) FROM n",
    );
    let store = world.other().await;
    assert_eq!(store.view().key(REGION, id).expect("there").key.description(), "Schlüssel 🔑");
    for target in [None, Some(id)] {
        assert_eq!(store.view().aliases_after(REGION, target, None, 9999).len(), 2500);
        assert_eq!(store.view().aliases_after(REGION, target, Some("alias/998"), 9999).len(), 1);
    }
}

/// How many rows the feed has.
async fn feed_rows(store: &Store) -> i64 {
    let mut connection = store.0.driver.reader("count").await.expect("a connection");
    sqlx::query_scalar("SELECT COUNT(*) FROM changes").fetch_one(&mut *connection).await.expect("counted")
}

#[tokio::test]
async fn the_feed_forgets_what_was_deleted_long_ago_and_who_was_away_longer_reads_all_anew() {
    let world = World::new().await;
    let (id, away) = (world.key().await.id(), world.other().await);
    let rows = feed_rows(&world.store).await;
    let minutes = |minutes: u64| Running::from_ms(minutes * 60_000);
    for n in 1..=9 {
        world.store.insert_grant(&Unrecorded, &grant(n, None), 9, free).await.expect("stored");
    }
    away.follow().await.expect("followed");
    for n in 1..=8 {
        world.store.delete_grant(&Unrecorded, &grant(n, None), free).await.expect("deleted");
    }
    for (now, kept) in [(1, 9), (30, 9), (60, 9), (61, 1), (200, 1)] {
        world.store.prune_feed(minutes(now)).await.expect("pruned");
        assert_eq!(feed_rows(&world.store).await, rows + kept, "after {now} minutes");
    }
    assert_eq!(away.view().count_grants(REGION, id), 9, "it has followed nothing meanwhile");
    away.follow().await.expect("followed");
    assert_eq!((away.view().count_grants(REGION, id), away.view().key(REGION, id).is_some()), (1, true));
    assert_eq!(away.follow().await.expect("followed"), 0, "and not again");
    assert_eq!(world.other().await.view().count_grants(REGION, id), 1);
    // Numbers go on where they were.
    world.store.delete_grant(&Unrecorded, &grant(9, None), free).await.expect("deleted");
    away.follow().await.expect("followed");
    assert_eq!(away.view().count_grants(REGION, id), 0);
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let world = World::new().await;
    raw_write(&world.path(), "UPDATE schema_version SET version = 99");
    let error = Store::open(&world.path()).await.err().expect("refused");
    assert_eq!(error.kind, StoreErrorKind::Schema);
    assert_eq!(
        error.source().map(ToString::to_string).as_deref(),
        Some("the database has schema version 99; this program supports versions 1 to 6")
    );
}

#[tokio::test]
async fn keys_of_the_first_version_are_read() {
    let world = World::new().await;
    let (plain, shared) = (key(id(1)), key(KeyId::from_parts(true, [2; 16])));
    for key in [&plain, &shared] {
        world.store.insert_key(&Unrecorded, key, free).await.expect("stored");
    }
    // The age of an intent was a date.
    world.store.intend(Asker::SERVICE, &intent(7, 1_767_225_600_000)).await.expect("stored");
    raw_write(
        &world.path(),
        "UPDATE documents SET body = json_remove(json_set(body, '$.multi_region', \
         json(CASE WHEN id LIKE '%mrk-%' THEN 'true' ELSE 'false' END)), '$.generations'); \
         ALTER TABLE intents DROP COLUMN key_store; \
         UPDATE schema_version SET version = 1; DROP TABLE heartbeat; DROP TABLE last_usage; \
         DROP TABLE records; DROP TABLE feed; DROP TABLE feed_marks; \
         DROP TABLE access_key_days",
    );
    let view_of = |store: &Store, id| store.view().key(REGION, id).expect("there").key.clone();
    let store = world.other().await;
    assert_eq!(view_of(&store, plain.id()), edited(&plain, "/generations", json!([])));
    let read = view_of(&store, shared.id());
    assert!(read.is_primary() && read.current_material_id().is_some());
    assert_eq!(read, edited(&shared, "/generations", json!([])));
    assert_eq!(store.intents_before(Running::from_ms(1)).await.expect("asked"), [intent(7, 0)]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    std::fs::write(&path, "x".repeat(10_000)).expect("written");
    let error = Store::open(&path).await.err().expect("refused");
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (StoreErrorKind::Corrupt, "could not open the database: what is stored cannot be read")
    );
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let world = World::new().await;
    world.key().await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let directory = world.directory.path().join("data");
    assert_eq!(mode(&directory), 0o700);
    for file in std::fs::read_dir(&directory).expect("a directory") {
        let path = file.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_change_that_is_dropped_leaves_nothing() {
    let world = World::new().await;
    let mut write = world.store.0.driver.write("be dropped", Asker::SERVICE).await.expect("begun");
    assert!(write.insert(&key(id(1))).await.expect("written"));
    drop(write);
    assert!(world.other().await.view().key(REGION, id(1)).is_none());
    world.key().await;
}

#[tokio::test]
async fn keys_with_the_same_policy_share_it_and_others_do_not() {
    let world = World::new().await;
    for n in 1..=3 {
        world.store.insert_key(&Unrecorded, &key(id(n)), free).await.expect("stored");
    }
    let policy = |n| Arc::clone(&world.store.view().key(REGION, id(n)).expect("there").policy);
    assert!(Arc::ptr_eq(&policy(1), &policy(2)));
    let [one, two] = [1, 2].map(|n| world.store.view().key(REGION, id(n)).expect("there"));
    assert!(std::ptr::eq(one.key.policy(), two.key.policy()) && std::ptr::eq(one.key.region(), two.key.region()));
    let other = |key: &mut Key| {
        key.put_policy(&POLICY.replace("Allow", "Deny"));
        Ok::<(), ()>(())
    };
    world.store.change_key(&Unrecorded, REGION, id(3), other).await.expect("changed");
    assert!(!Arc::ptr_eq(&policy(1), &policy(3)));
    let broken = |key: &mut Key| {
        key.put_policy("{");
        Ok::<(), ()>(())
    };
    for n in [2, 3] {
        world.store.change_key(&Unrecorded, REGION, id(n), broken).await.expect("changed");
    }
    assert!(!Arc::ptr_eq(&policy(1), &policy(2)), "one that does not compile is no other's");
}

#[tokio::test]
async fn keys_are_found_by_what_is_due_and_no_others() {
    let world = World::new().await;
    for n in 1..=9 {
        world.store.insert_key(&Unrecorded, &key(id(n)), free).await.expect("stored");
    }
    let at = |now| Moment { now: Timestamp::from_ms(now), running: Running::from_ms(u64::MAX) };
    let ids = |entries: Vec<Arc<KeyEntry>>| entries.iter().map(|entry| entry.key.id()).collect::<Vec<_>>();
    let change = async |n, change: fn(&mut Key)| {
        let change = |key: &mut Key| {
            change(key);
            Ok::<(), ()>(())
        };
        world.store.change_key(&Unrecorded, REGION, id(n), change).await.expect("changed");
    };
    change(4, |key| expire(key, 100)).await;
    change(5, |key| key.enable_rotation(&mut Family::new(), 90, Timestamp::from_ms(0))).await;
    let rotation = clock::days(90).as_millis().try_into().expect("milliseconds");
    let view = world.store.view();
    assert!(ids(view.expired(at(99))).is_empty() && ids(view.due_for_rotation(at(rotation - 1).now)).is_empty());
    assert_eq!(ids(view.expired(at(100))), [id(4)]);
    assert_eq!(ids(view.due_for_rotation(at(rotation).now)), [id(5)]);
    change(4, |key| expire(key, 200)).await;
    change(5, |key| key.disable_rotation(&mut Family::new())).await;
    assert!(ids(view.expired(at(199))).is_empty() && ids(view.due_for_rotation(at(i64::MAX).now)).is_empty());
    assert_eq!(ids(view.expired(at(200))), [id(4)]);
    world.delete(id(4)).await;
    assert!(ids(view.expired(at(i64::MAX))).is_empty());
}

/// Not a benchmark: it fails only if a read costs what a scan would.
#[test]
fn a_read_of_a_large_view_is_short() {
    let view = View::default();
    let ids: Vec<_> = (0..100_000).map(|_| KeyId::random(false)).collect();
    let shared = Shared::default();
    let update = |id: &KeyId| update::Update::Key(REGION.into(), *id, update::compile(key(*id), &shared));
    view.apply(ids.iter().map(update).collect());
    let begun = Instant::now();
    let found = ids.iter().filter(|id| view.key(REGION, **id).is_some()).count();
    let each = begun.elapsed() / 100_000;
    println!("one key of 100,000: {each:?}");
    assert_eq!(found, ids.len());
    assert!(each < Duration::from_micros(20), "{each:?}");
    assert_eq!(view.keys_after(REGION, ids.get(500).copied(), 10).len().min(1), 1);
}

#[tokio::test]
async fn grants_go_to_keys_that_are_there_and_have_room() {
    let world = World::new().await;
    let store = &world.store;
    let insert = |grant: Grant| async move { store.insert_grant(&Unrecorded, &grant, 3, free).await.expect("asked") };
    assert_eq!(insert(grant(1, None)).await, GrantInsert::KeyGone);
    let key = world.key().await.id();
    assert_eq!(insert(grant(1, None)).await, GrantInsert::Done);
    assert_eq!(insert(grant(2, Some("n"))).await, GrantInsert::Done);
    assert_eq!(insert(grant(3, Some("n"))).await, GrantInsert::There(GrantId([2; 32])));
    assert_eq!(insert(grant(4, None)).await, GrantInsert::Done);
    assert_eq!(insert(grant(5, None)).await, GrantInsert::TooMany);
    assert_eq!(insert(grant(6, Some("n"))).await, GrantInsert::There(GrantId([2; 32])), "it takes no more room");
    assert!(store.delete_grant(&Unrecorded, &grant(4, None), free).await.expect("asked"));
    assert!(!store.delete_grant(&Unrecorded, &grant(4, None), free).await.expect("asked"));
    assert_eq!(insert(grant(5, None)).await, GrantInsert::Done);

    for store in [store.clone(), world.other().await] {
        let ids: Vec<_> =
            store.view().grants_after(REGION, key, None, None, 9).iter().map(|grant| grant.id.0[0]).collect();
        assert_eq!(ids, [1, 2, 5]);
        assert_eq!(*store.view().grant(REGION, key, GrantId([2; 32])).expect("there"), grant(2, Some("n")));
        assert!(store.view().grant("us-east-1", key, GrantId([2; 32])).is_none());
    }
}

#[tokio::test]
async fn a_grant_that_another_process_made_counts() {
    let world = World::new().await;
    let key = world.key().await.id();
    let other = world.other().await;
    assert_eq!(
        world.store.insert_grant(&Unrecorded, &grant(1, Some("n")), 1, free).await.expect("asked"),
        GrantInsert::Done
    );
    // Its view has not seen that yet.
    assert_eq!(other.view().count_grants(REGION, key), 0);
    assert_eq!(
        other.insert_grant(&Unrecorded, &grant(2, Some("n")), 1, free).await.expect("asked"),
        GrantInsert::There(GrantId([1; 32]))
    );
    assert!(other.delete_grant(&Unrecorded, &grant(1, None), free).await.expect("asked"));
    assert_eq!(
        world.store.insert_grant(&Unrecorded, &grant(3, None), 1, free).await.expect("asked"),
        GrantInsert::Done
    );
    assert_eq!(other.insert_grant(&Unrecorded, &grant(4, None), 1, free).await.expect("asked"), GrantInsert::TooMany);
}

#[tokio::test]
async fn a_deleted_key_takes_its_grants_with_it_everywhere() {
    let world = World::new().await;
    let key = world.key().await.id();
    for n in 1..=3 {
        world.store.insert_grant(&Unrecorded, &grant(n, None), 9, free).await.expect("stored");
    }
    let other = world.other().await;
    assert_eq!(other.view().count_grants(REGION, key), 3);
    world.delete(key).await;
    other.follow().await.expect("followed");
    for store in [&world.store, &other, &world.other().await] {
        assert_eq!(store.view().count_grants(REGION, key), 0);
    }
    // What is gone leaves its row in the feed, and nothing else.
    assert_eq!(
        world.store.insert_grant(&Unrecorded, &grant(1, None), 9, free).await.expect("asked"),
        GrantInsert::KeyGone
    );
}

#[tokio::test]
async fn a_grant_that_cannot_be_read_allows_nothing() {
    let world = World::new().await;
    let key = world.key().await.id();
    for n in 1..=3 {
        world.store.insert_grant(&Unrecorded, &grant(n, None), 9, free).await.expect("stored");
    }
    // One without its constraints must not become one that has none.
    raw_write(
        &world.path(),
        "UPDATE documents SET body = json_remove(body, '$.terms.constraints') WHERE id LIKE '%/010101010101%'; \
         UPDATE documents SET body = json_remove(body, '$.terms.constraints.context') WHERE id LIKE '%/020202020202%'",
    );
    let other = world.other().await;
    let grants = other.view().grants_after(REGION, key, None, None, 9);
    assert_eq!(grants.iter().map(|grant| grant.id.0[0]).collect::<Vec<_>>(), [3]);
}

/// A change in which this befalls the connection; whether it is made.
async fn befallen(store: &Store, fault: &'static str) -> Result<(), StoreError> {
    let mut write = store.0.driver.write("be befallen", Asker::SERVICE).await?;
    let _ = sqlx::raw_sql(fault).execute(write.connection()).await;
    write.delete(Key::KIND, "nowhere").await?;
    write.commit().await
}

#[tokio::test]
async fn a_connection_that_failed_is_used_no_more_and_the_next_write_succeeds() {
    let world = World::new().await;
    let id = world.key().await.id();
    // As a full disk does, which has the database end the transaction by itself; and as others may.
    for fault in ["ROLLBACK", "COMMIT", "PRAGMA query_only = on", "ROLLBACK; BEGIN; ROLLBACK"] {
        befallen(&world.store, fault).await.expect_err(fault);
        let changed = world.store.change_key(&Unrecorded, REGION, id, describe(fault)).await;
        assert_eq!(changed.expect("changed").description(), fault);
    }
    befallen(&world.store, "SELECT nothing FROM nowhere").await.expect("a statement that fails spoils no other");
}
