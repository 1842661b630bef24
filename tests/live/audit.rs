//! An audit volume that is full: what cannot be written down is not done, and what was done is written down once there is room.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strongroom::{error::Code, operations};

use crate::{
    effects::{Comparison, Load, Store, records_by_request},
    imports::external_key,
    join::make_token,
    server::{ACCOUNT, Server, within},
    volume::Volume,
    wire::Answer,
};

/// By when it goes on once there is room.
const HEALED: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);
const TRAIL: &str = "audit.jsonl";
const CLUSTER: &str = "cluster-2abcdefghij";
const CLIENTS: usize = 8;
/// Room for the records of a test.
const ROOM_KIB: usize = 16 << 10;

/// What the operation answers when it cannot be done now, which is not the caller's fault: not all declare the same.
fn timed_out(operation: &str) -> &'static str {
    let operation = operations::TABLE.iter().find(|entry| entry.name == operation).unwrap();
    let answers = [Code::DependencyTimeoutException, Code::KMSInternalException];
    answers.into_iter().find(|code| operation.may_answer(*code)).unwrap().as_str()
}

/// A server whose trail is on a volume of its own.
struct Setting {
    volume: Volume,
    server: Server,
    store: Store,
    key_store: String,
    slowest: Duration,
}

impl Setting {
    fn new(kib: usize) -> Option<Self> {
        let volume = Volume::mount(kib)?;
        let mut server = Server::new().with("STRONGROOM__AUDIT__PATH", volume.file(TRAIL).display());
        server.start();
        let store = Store::of(server.data().join("strongroom.sqlite"));
        Some(Self { volume, server, store, key_store: String::new(), slowest: Duration::ZERO })
    }

    /// With an HSM for custom key stores.
    fn with_cluster(mut self) -> Self {
        self.server.stop();
        let (rack, config) = (self.server.root().join("rack"), self.server.data().join("strongroom.toml"));
        make_token(&rack);
        let cluster = format!(
            "\n[[clusters]]\nid = \"{CLUSTER}\"\ntoken = \"pkcs11:token=rack\"\nenvironment = {{ SOFTHSM2_CONF = \"{}\" }}\n",
            rack.join("softhsm2.conf").display()
        );
        fs::write(&config, fs::read_to_string(&config).unwrap() + &cluster).unwrap();
        self.server.start();
        self
    }

    fn trail(&self) -> PathBuf {
        self.volume.file(TRAIL)
    }

    /// Not one more record has room, which nobody has noticed yet.
    fn fill(&self) {
        self.volume.fill();
        self.volume.end_page_of(TRAIL);
    }

    /// There is room again, and the service goes on by itself.
    fn make_room(&mut self) {
        let began = Instant::now();
        self.volume.make_room();
        assert!(within(HEALED, || self.server.get("/readyz").0 == 200), "{:?}", self.server.get("/readyz"));
        assert!(self.server.get("/metrics").1.contains("strongroom_audit_writable 1"));
        self.slowest = self.slowest.max(began.elapsed());
    }

    /// A request of an operation that changes something, of what is made for it.
    fn request_of(&mut self, operation: &str) -> Value {
        let server = &self.server;
        let arn = format!("arn:aws:iam::{ACCOUNT}:user/somebody");
        let key = server.new_key();
        let done = |operation: &str, body: Value| server.done(operation, &body);
        let grant = || {
            let body = json!({"KeyId": key, "GranteePrincipal": arn, "Operations": ["Encrypt"]});
            (done("CreateGrant", body)["GrantId"].clone(), format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/{key}"))
        };
        let alias = || {
            let name = format!("alias/{key}");
            done("CreateAlias", json!({"AliasName": name, "TargetKeyId": key}));
            name
        };
        let family = || {
            let made = done("CreateKey", json!({"MultiRegion": true}));
            made["KeyMetadata"]["KeyId"].clone()
        };
        let store = json!({"CustomKeyStoreId": self.key_store});
        match operation {
            "CancelKeyDeletion" => {
                done("ScheduleKeyDeletion", json!({"KeyId": key}));
                json!({"KeyId": key})
            }
            "ConnectCustomKeyStore" | "DisconnectCustomKeyStore" | "DeleteCustomKeyStore" => store,
            "UpdateCustomKeyStore" => json!({"CustomKeyStoreId": self.key_store, "NewCustomKeyStoreName": key}),
            "CreateAlias" => json!({"AliasName": format!("alias/{key}"), "TargetKeyId": key}),
            "CreateCustomKeyStore" => json!({
                "CustomKeyStoreName": key, "CloudHsmClusterId": CLUSTER, "KeyStorePassword": "user-pin",
                "TrustAnchorCertificate": rcgen::generate_simple_self_signed(vec![]).unwrap().cert.pem(),
            }),
            "CreateGrant" => json!({"KeyId": key, "GranteePrincipal": arn, "Operations": ["Encrypt"]}),
            "CreateKey" => json!({}),
            "DeleteAlias" => json!({"AliasName": alias()}),
            "DeleteImportedKeyMaterial" => {
                let (key, import) = external_key(server);
                done("ImportKeyMaterial", import);
                json!({"KeyId": key})
            }
            "DisableKey" | "EnableKeyRotation" | "RotateKeyOnDemand" | "ScheduleKeyDeletion" => json!({"KeyId": key}),
            "DisableKeyRotation" => {
                done("EnableKeyRotation", json!({"KeyId": key}));
                json!({"KeyId": key})
            }
            "EnableKey" => {
                done("DisableKey", json!({"KeyId": key}));
                json!({"KeyId": key})
            }
            "ImportKeyMaterial" => external_key(server).1,
            "PutKeyPolicy" => {
                let root = format!("arn:aws:iam::{ACCOUNT}:root");
                let all = json!({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*", "Sid": "x"});
                let policy = json!({"Version": "2012-10-17", "Statement": [all]}).to_string();
                json!({"KeyId": key, "Policy": policy})
            }
            "ReplicateKey" => json!({"KeyId": family(), "ReplicaRegion": "eu-west-1"}),
            "RetireGrant" => {
                let (grant, arn) = grant();
                json!({"KeyId": arn, "GrantId": grant})
            }
            "RevokeGrant" => json!({"KeyId": key, "GrantId": grant().0}),
            "TagResource" => json!({"KeyId": key, "Tags": [{"TagKey": "team", "TagValue": "red"}]}),
            "UntagResource" => {
                done("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "team", "TagValue": "red"}]}));
                json!({"KeyId": key, "TagKeys": ["team"]})
            }
            "UpdateAlias" => json!({"AliasName": alias(), "TargetKeyId": server.new_key()}),
            "UpdateKeyDescription" => json!({"KeyId": key, "Description": "another"}),
            "UpdatePrimaryRegion" => {
                let key = family();
                done("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": "eu-west-1"}));
                json!({"KeyId": key, "PrimaryRegion": "eu-west-1"})
            }
            other => panic!("{other} changes something, and is not tried here"),
        }
    }

    /// What comes of a custom key store later is not what the call changes.
    fn settle(&mut self, operation: &str, answer: &Answer) {
        let state = || {
            let described = self.server.done("DescribeCustomKeyStores", &json!({"CustomKeyStoreId": self.key_store}));
            described["CustomKeyStores"][0]["ConnectionState"].clone()
        };
        match operation {
            "CreateCustomKeyStore" => self.key_store = answer.json()["CustomKeyStoreId"].as_str().unwrap().to_owned(),
            "ConnectCustomKeyStore" => assert!(within(SOON, || state() == "CONNECTED")),
            "DisconnectCustomKeyStore" => assert!(within(SOON, || state() == "DISCONNECTED")),
            _ => {}
        }
    }

    /// While the trail is known to be full nothing is done, and the service says why.
    fn assert_refused(&mut self, operation: &str) {
        let body = self.request_of(operation);
        self.fill();
        let noticed = within(HEALED, || self.server.call("ListKeys", &json!({})).status != 200);
        assert!(noticed, "nothing is written down, and nobody notices");
        let before = self.store.changes();
        let answer = self.server.call(operation, &body);
        assert_eq!((answer.status, &*answer.exception()), (500, timed_out(operation)), "{operation}");
        assert_eq!(self.store.changes(), before, "{operation} was refused, and has taken effect");
        let (status, why) = self.server.get("/readyz");
        assert!(status == 503 && why.contains("audit trail cannot be written"), "{status} {why}");
        assert!(self.server.get("/metrics").1.contains("strongroom_audit_writable 0"));
        self.make_room();
        assert!(!records_by_request(&self.trail()).contains_key(answer.request_id()), "{operation}");
    }

    /// The first call that finds the volume full has its effect and its record, or neither.
    fn assert_done_or_not(&mut self, operation: &str) {
        let body = self.request_of(operation);
        self.fill();
        let before = self.store.changes();
        let mut answer = self.server.call(operation, &body);
        let has_effect = self.store.changes() > before;
        self.make_room();
        let records = records_by_request(&self.trail()).remove(answer.request_id()).unwrap_or_default();
        let done = records.iter().filter(|record| record["errorCode"].is_null()).count();
        assert_eq!((done, records.len()), (usize::from(has_effect), done), "{operation}: {records:?}");
        if answer.status != 200 {
            assert_eq!((has_effect, &*answer.exception()), (false, timed_out(operation)), "{operation}");
            answer = self.server.call(operation, &body);
        }
        assert_eq!(answer.status, 200, "{operation} cannot be repeated: {answer:?}");
        self.settle(operation, &answer);
    }
}

/// Whether the trail is whole lines of JSON, none of a record twice.
fn records(setting: &Setting) -> usize {
    let text = fs::read_to_string(setting.trail()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let mut events: Vec<_> = lines.iter().filter_map(|line| line["eventID"].as_str()).collect();
    let all = events.len();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), all, "a record is there twice");
    all
}

#[test]
fn on_a_full_volume_no_operation_has_an_effect_without_its_record() {
    let Some(setting) = Setting::new(ROOM_KIB) else { return };
    let mut setting = setting.with_cluster();
    // Of a custom key store in this order.
    let of_key_stores =
        ["Create", "Connect", "Disconnect", "Update", "Delete"].map(|verb| format!("{verb}CustomKeyStore"));
    let all = operations::TABLE.iter().filter(|entry| !entry.read_only).map(|entry| entry.name.to_owned());
    let others: Vec<_> = all.filter(|name| !name.ends_with("CustomKeyStore")).collect();
    let began = Instant::now();
    for operation in of_key_stores.iter().chain(&others) {
        setting.assert_refused(operation);
        setting.assert_done_or_not(operation);
    }
    println!(
        "{} operations, each refused on a full volume and each the first to find it full: effects and {} records are the same; \
         it went on within {:?} at most; {:?} in all",
        of_key_stores.len() + others.len(),
        records(&setting),
        setting.slowest,
        began.elapsed()
    );
}

#[test]
fn a_volume_that_fills_while_clients_change_things_costs_neither_effects_nor_records() {
    let Some(setting) = Setting::new(ROOM_KIB) else { return };
    let shared = setting.server.new_key();
    let store = setting.server.data().join("strongroom.sqlite");
    let mut comparison = Comparison::of(store, setting.trail());
    let (marks, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (acknowledged, refused) = (Mutex::default(), Mutex::<Vec<String>>::default());
    let mut times = Vec::new();
    for _ in 0..3 {
        over.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let server = &setting.server;
                let load = Load {
                    address: server.address(),
                    credentials: server.administrator(),
                    shared_key: &shared,
                    marks: &marks,
                    acknowledged: &acknowledged,
                    refused: &refused,
                };
                let over = &over;
                scope.spawn(move || load.go_on(over));
            }
            let (done, refused) = (|| acknowledged.lock().unwrap().len(), || refused.lock().unwrap().len());
            let before = done();
            assert!(within(SOON, || done() > before + 100), "nothing is done");
            let before = refused();
            setting.volume.fill();
            assert!(within(SOON, || refused() > before + 100), "nothing is refused");
            let (full, before) = (Instant::now(), done());
            setting.volume.make_room();
            assert!(within(HEALED, || done() > before), "nothing is done though there is room");
            times.push(full.elapsed());
            assert!(within(SOON, || done() > before + 100), "nothing is done");
            over.store(true, Ordering::Relaxed);
        });
        assert!(within(HEALED, || setting.server.get("/readyz").0 == 200));
        comparison.assert_same(&acknowledged.lock().unwrap());
    }
    println!(
        "{} changes acknowledged, {} calls refused on a full volume, {} records: none without the other; changes again after {times:?}",
        acknowledged.lock().unwrap().len(),
        refused.lock().unwrap().len(),
        records(&setting)
    );
}

#[test]
fn what_waits_for_room_outlives_kills() {
    let Some(mut setting) = Setting::new(ROOM_KIB) else { return };
    let shared = setting.server.new_key();
    let store = setting.server.data().join("strongroom.sqlite");
    let mut comparison = Comparison::of(store, setting.trail());
    let marks = AtomicUsize::new(0);
    let (acknowledged, refused) = (Mutex::default(), Mutex::<Vec<String>>::default());
    for _ in 0..3 {
        let before = refused.lock().unwrap().len();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let load = Load {
                    address: setting.server.address(),
                    credentials: setting.server.administrator(),
                    shared_key: &shared,
                    marks: &marks,
                    acknowledged: &acknowledged,
                    refused: &refused,
                };
                scope.spawn(move || load.go_on(&AtomicBool::new(false)));
            }
            setting.volume.fill();
            let is_full = within(SOON, || refused.lock().unwrap().len() > before + 20);
            setting.server.kill();
            assert!(is_full, "nothing is refused");
        });
        // It starts on a full volume, and dies there again.
        setting.server.start();
        setting.server.kill();
        setting.server.start();
        setting.make_room();
        assert!(within(SOON, || setting.store.waiting_records() == 0), "records wait though there is room");
        comparison.assert_same(&acknowledged.lock().unwrap());
    }
    let (records, torn) = comparison.counts();
    println!("6 kills on a full volume: {records} records of changes and {torn} torn lines, none without the other");
}
