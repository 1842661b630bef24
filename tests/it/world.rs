//! A whole service in one process: a store of its own, an HSM that all worlds share, a clock that stands still, and the
//! router, called without a socket.
//!
//! Whoever calls is a [`Caller`]; a [`World`] is one too, its administrator. Every call is checked beside what its test
//! asks for: it left exactly one audit record, which says what the answer says, and no secret is in either.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::Expect;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub use strongroom::kms::KeyStoreKind as Keeping;
use strongroom::{
    api::{self, Limits},
    arn::{AccountId, Realm},
    attestation::Roots,
    audit::{Trail, TrailAddress},
    authn::Vault,
    call::Calls,
    clock::{ManualClock, Moment, Running, Timestamp},
    error::{Code, KmsError},
    hsm::{self, Cluster, Clusters, Command, Hsm, PinSource, Place},
    identity::OsUser,
    key::{
        Key,
        custom_store::{ConnectionState, CustomKeyStore, KeyStoreId},
        material::{Material, MaterialId},
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        state::KeyState,
        tombstone::Tombstone,
    },
    kms::{
        Kms, Machines, Settings,
        admin::{ADMINISTRATOR_POLICY, Admin, Credentials, Operator, found},
        seed::Seed,
    },
    operations::TABLE,
    policy::default_key_policy,
    secret::{SecretBytes, SecretText},
    sigv4::{Received, Signer, sign},
    store::{ChangeError, Store, Unrecorded},
    tasks,
};

use crate::tokens::{PIN, bare_token, secret, token};

/// The region of every caller who names no other.
pub const REGION: &str = "eu-test-1";
/// The account of everything.
pub const ACCOUNT: &str = "111122223333";
/// The longest body.
pub const BODY_BYTES: usize = 1 << 20;
/// The cluster that every world knows.
pub const CLUSTER: &str = "cluster-2abcdefghij";
/// The beginning of the year 2026, when every world begins.
pub const START: Timestamp = Timestamp::from_ms(1_767_225_600_000);

const ADMINISTRATOR: &str = "AKIAADMINISTRATOR";
const ADMINISTRATORS_SECRET: &str = "administrators-secret-access-key-0123456";
const LONG: Duration = Duration::from_secs(120);
const LIMITS: Limits = Limits { body_bytes: BODY_BYTES, all_bodies_bytes: 64 * BODY_BYTES, body_timeout: LONG };

/// A service and its administrator.
pub struct World {
    pub kms: Arc<Kms>,
    pub store: Store,
    pub admin: Admin,
    pub clock: Arc<ManualClock>,
    keeping: Keeping,
    clusters: Clusters,
    vault: Vault,
    dir: TempDir,
    administrator: Caller,
}

impl Deref for World {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.administrator
    }
}

/// Somebody who signs requests.
#[derive(Clone)]
pub struct Caller {
    house: Arc<House>,
    pub arn: String,
    pub access_key_id: String,
    pub region: String,
    secret: SecretText,
}

/// What all callers of a world share.
struct House {
    router: Router,
    clock: Arc<ManualClock>,
    audit: PathBuf,
    /// Bytes of the audit file that were looked at.
    read: Mutex<usize>,
    names: Mutex<Vec<String>>,
}

/// A request before it is signed and sent. Tests spoil what they are about.
pub struct Letter {
    pub method: &'static str,
    pub path: &'static str,
    pub content_type: Option<&'static str>,
    pub target: Option<String>,
    pub body: Vec<u8>,
    pub at: Timestamp,
    pub access_key_id: String,
    pub signed: bool,
    pub forged: bool,
}

/// What came back, and what was written down of it.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub records: Vec<Value>,
}

impl World {
    /// A world that keeps its keys wrapped in the store.
    pub async fn new() -> Self {
        Self::with(Keeping::Wrapped).await
    }

    /// A world that keeps its keys so.
    pub async fn with(keeping: Keeping) -> Self {
        let clusters = Clusters::new(vec![looked_at(CLUSTER)], None);
        Self::open(tempfile::tempdir().unwrap(), keeping, clusters, Arc::new(ManualClock::new(START))).await
    }

    /// A world with these clusters, to which nobody else logs in.
    pub async fn with_clusters(clusters: Vec<Cluster>) -> Self {
        let (dir, clusters) = (tempfile::tempdir().unwrap(), Clusters::new(clusters, None));
        Self::open(dir, Keeping::Wrapped, clusters, Arc::new(ManualClock::new(START))).await
    }

    /// The same world after a stop and a start.
    pub async fn reopened(self) -> Self {
        let clusters = self.clusters.clone();
        self.reopened_with(clusters).await
    }

    /// Another process on the same store, which neither tells the other of its changes.
    pub async fn neighbour(&self) -> Self {
        let (dir, clusters) = (tempfile::tempdir().unwrap(), self.clusters.clone());
        Self::open_on(&self.database(), dir, self.keeping, clusters, self.clock.clone()).await
    }

    /// The file of the store.
    pub fn database(&self) -> PathBuf {
        self.dir.path().join("strongroom.sqlite")
    }

    /// The same, with other clusters in its configuration.
    pub async fn reopened_with(self, clusters: Clusters) -> Self {
        assert!(self.kms.close_key_stores(LONG).await);
        let Self { dir, keeping, clock, .. } = self;
        Self::open(dir, keeping, clusters, clock).await
    }

    async fn open(dir: TempDir, keeping: Keeping, clusters: Clusters, clock: Arc<ManualClock>) -> Self {
        listen_to_the_log();
        let database = dir.path().join("strongroom.sqlite");
        Self::open_on(&database, dir, keeping, clusters, clock).await
    }

    async fn open_on(
        database: &Path,
        dir: TempDir,
        keeping: Keeping,
        clusters: Clusters,
        clock: Arc<ManualClock>,
    ) -> Self {
        let store = Store::open(database).await.unwrap();
        let vault = Vault::new(hsm().clone());
        found(&store, hsm(), &vault, &account(), START).await.unwrap();
        let audit = dir.path().join("audit.jsonl");
        let admin = Admin::new(store.clone(), account(), "aws".to_owned(), operator(&audit), START);
        let trail = Trail::open(&audit, false).unwrap();
        let (hsm, held) = (hsm().clone(), clusters.clone());
        let machines = Machines { store: store.clone(), hsm, clusters: held, trail, clock: clock.clone() };
        let kms = Arc::new(Kms::new(settings(keeping), machines, vault.clone()));
        let router = api::router(Arc::new(Calls::new(kms.clone())), LIMITS, &[]);
        let read = Mutex::new(fs::read(&audit).unwrap().len());
        let house = House { router, clock: clock.clone(), audit, read, names: Mutex::default() };
        let administrator = administrator(&admin, &vault, house).await;
        Self { kms, store, admin, clock, keeping, clusters, vault, dir, administrator }
    }

    /// A user whose one policy allows these actions on everything; none for no actions.
    pub async fn as_user(&self, actions: &[&str]) -> Caller {
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let policies = (!actions.is_empty()).then(|| ("allows".to_owned(), policy));
        self.user(BTreeMap::from_iter(policies)).await
    }

    /// A user with these identity policies.
    pub async fn user(&self, policies: BTreeMap<String, String>) -> Caller {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        self.principal(&format!("user-{}", COUNT.fetch_add(1, Ordering::Relaxed)), policies).await
    }

    /// The user of that name, or the principal of that ARN, with these identity policies.
    pub async fn principal(&self, name: &str, policies: BTreeMap<String, String>) -> Caller {
        let principal = self.admin.create_principal(name, policies).await.unwrap();
        let made = self.admin.create_access_key(&self.vault, name).await.unwrap();
        Caller {
            arn: principal.arn().to_owned(),
            access_key_id: made.access_key_id,
            secret: made.secret,
            ..self.administrator.clone()
        }
    }

    /// What is in the trail of what the operator did.
    pub async fn operator_records(&self) -> Vec<Value> {
        self.kms.deliver_records().await.unwrap();
        let all = records(&fs::read(&self.administrator.house.audit).unwrap());
        all.into_iter().filter(|record| record["eventType"] == "OperatorCommand").collect()
    }

    /// Plants a seed.
    pub async fn plant_seed(&self, seed: Seed) -> Result<(), KmsError> {
        self.kms.plant(&self.admin, &self.vault, seed, REGION).await
    }

    /// Makes an access key for a principal; answers its id.
    pub async fn access_key(&self, name: &str) -> String {
        self.admin.create_access_key(&self.vault, name).await.unwrap().access_key_id
    }

    /// One round of the background work.
    pub async fn work(&self) {
        tasks::once(&self.kms).await.unwrap();
    }

    /// A custom key store of [`CLUSTER`], put into the store past the API; its password opens nothing.
    pub async fn plant_key_store(&self, state: ConnectionState) -> String {
        let id = KeyStoreId::random();
        let key_store = CustomKeyStore {
            id: id.clone(),
            region: REGION.to_owned(),
            name: format!("planted {id}"),
            cluster: CLUSTER.to_owned(),
            trust_anchor: trust_anchor().to_owned(),
            sealed_password: Vec::new(),
            state,
            error: None,
            connection: 1,
            created: START,
        };
        self.store.insert_key_store(&Unrecorded, &key_store, |_| Ok::<_, std::convert::Infallible>(())).await.unwrap();
        id.to_string()
    }

    /// Takes all custom key stores away past the API.
    pub async fn forget_key_stores(&self) {
        for key_store in self.store.view().key_stores() {
            let all = |_: &CustomKeyStore, _: &_| Ok::<_, std::convert::Infallible>(());
            self.store.delete_key_store(&Unrecorded, &key_store.region, key_store.id.as_str(), all).await.unwrap();
        }
    }

    /// Does background work until no custom key store is on its way from one connection state to another.
    pub async fn settle(&self) {
        use ConnectionState::{Connecting, Disconnecting};
        let begun = Instant::now();
        loop {
            self.work().await;
            let all = self.store.view().key_stores();
            if !all.iter().any(|key_store| matches!(key_store.state, Connecting | Disconnecting)) {
                return;
            }
            assert!(begun.elapsed() < LONG, "{all:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A key that is put into the store past the API, for what the API cannot make (quickly).
    pub async fn plant(&self, spec: KeySpec, usage: KeyUsage) -> String {
        let key = key(spec, usage, material(spec, usage).await);
        insert_key(&self.store, &key).await;
        key.id.to_string()
    }

    /// An RSA_2048 key that encrypts.
    pub async fn rsa(&self) -> String {
        self.plant(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await
    }

    /// Puts a key into a state past the API.
    pub async fn set_state(&self, key: &str, state: KeyState) {
        self.change_key(key, |key| key.state = state).await;
    }

    /// Changes a key past the API.
    pub async fn change_key(&self, key: &str, change: impl Fn(&mut Key)) {
        let id = KeyId::parse(key).unwrap();
        let changed = self.store.change_key(&Unrecorded, REGION, id, |key| {
            change(key);
            Ok::<_, std::convert::Infallible>(())
        });
        assert!(!matches!(changed.await, Err(ChangeError::NotFound | ChangeError::Store(_))), "{key}");
    }

    /// Deletes a key past the API and the time.
    pub async fn delete(&self, key: &str) {
        let (id, realm) = (KeyId::parse(key).unwrap(), realm(REGION));
        let moment = Moment { now: START, running: Running::default() };
        let bury = |key: &Key, relatives: &[&Key]| Some(Tombstone::of(key, relatives, &realm, START));
        let deleted = self.store.delete_key(REGION, id, moment, bury);
        deleted.await.unwrap().unwrap();
    }

    /// The same world, writing its audit records to another trail.
    pub async fn on_trail(self, trail: Trail) -> Self {
        let settings = settings(self.keeping);
        self.with_service(trail, settings, hsm()).await
    }

    /// The same world, on another HSM. Keys that were made before are of no use on it.
    pub async fn on_hsm(self, hsm: &Hsm) -> Self {
        self.trusting_on(Roots::default(), hsm).await
    }

    /// The same world, where these roots vouch for recipients.
    pub async fn trusting(self, roots: Roots) -> Self {
        self.trusting_on(roots, hsm()).await
    }

    /// The same, on another HSM with the same wrapping key.
    pub async fn trusting_on(self, roots: Roots, hsm: &Hsm) -> Self {
        let trail = Trail::open(&self.dir.path().join("audit.jsonl"), false).unwrap();
        let settings = Settings { attestation_roots: Arc::new(roots), ..settings(self.keeping) };
        self.with_service(trail, settings, hsm).await
    }

    async fn with_service(self, trail: Trail, settings: Settings, hsm: &Hsm) -> Self {
        let (store, clusters, clock) = (self.store.clone(), self.clusters.clone(), self.clock.clone());
        let machines = Machines { store, hsm: hsm.clone(), clusters, trail, clock };
        let kms = Arc::new(Kms::new(settings, machines, self.vault.clone()));
        let router = api::router(Arc::new(Calls::new(kms.clone())), LIMITS, &[]);
        let audit = self.dir.path().join("audit.jsonl");
        let read = Mutex::new(fs::read(&audit).unwrap().len());
        let house = House { router, clock: self.clock.clone(), audit, read, names: Mutex::default() };
        let administrator = administrator(&self.admin, &self.vault, house).await;
        Self { kms, administrator, ..self }
    }

    /// The material that a key has now.
    pub fn material_of(&self, key: &str) -> Arc<Material> {
        let entry = self.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap();
        Arc::clone(entry.key.current_material().unwrap())
    }

    /// Whether the HSM still has this material.
    pub async fn hsm_has(&self, material: &Arc<Material>) -> bool {
        has(hsm(), material).await
    }

    /// Invocations of a key's material that are reserved by now.
    pub async fn reserved(&self, key: &str) -> u64 {
        self.reserve(key, 0).await
    }

    /// Reserves invocations past the service.
    pub async fn reserve(&self, key: &str, count: u64) -> u64 {
        let entry = self.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap();
        let material = entry.key.current_material().unwrap().id;
        self.store.reserve_invocations(material, count).await.unwrap()
    }

    /// What nobody may be told.
    pub fn secrets(&self) -> [String; 2] {
        [PIN.to_owned(), ADMINISTRATORS_SECRET.to_owned()]
    }

    /// All that is in the files of the store, as far as it is text.
    pub fn stored(&self) -> String {
        let files = ["strongroom.sqlite", "strongroom.sqlite-wal"].map(|name| fs::read(self.dir.path().join(name)));
        files.into_iter().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    /// Every audit record since the world began.
    pub fn audit(&self) -> Vec<Value> {
        records(&fs::read(&self.house.audit).unwrap())
    }
}

impl Caller {
    /// The same caller in another region.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// Calls an operation.
    pub async fn call(&self, operation: &str, body: impl Into<Value>) -> Answer {
        let body: Value = body.into();
        let answer = self.send(self.letter(operation, body.to_string())).await;
        answer.is_written_down_as(operation);
        answer.tells_nothing_of(&body);
        answer.is_one_of(operation);
        answer
    }

    /// What a call answers that succeeds; `null` for an empty body.
    pub async fn ok(&self, operation: &str, body: impl Into<Value>) -> Value {
        let answer = self.call(operation, body).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        answer.json()
    }

    /// Compares what a call answers, with ids and blobs masked.
    pub async fn check(&self, operation: &str, body: impl Into<Value>, expected: Expect) {
        expected.assert_eq(&format!("{:#}", self.masked(operation, body).await));
    }

    /// Compares what a call answers, with ids and blobs masked, where most of it is in [`structures`](crate::structures).
    #[track_caller]
    pub fn check_only(&self, operation: &str, body: impl Into<Value>, expected: Value) -> impl Future<Output = ()> {
        let (at, body) = (std::panic::Location::caller(), body.into());
        async move {
            let answer = self.masked(operation, body).await;
            assert!(answer == expected, "{at}: {operation} answers\n{answer:#}\nand should\n{expected:#}");
        }
    }

    /// What a call answers that succeeds, with ids and blobs masked.
    pub async fn masked(&self, operation: &str, body: impl Into<Value>) -> Value {
        self.house.masked("", &self.ok(operation, body).await)
    }

    /// A call is refused so. An empty `message` says that the answer has none.
    #[track_caller]
    pub fn refuse(
        &self,
        operation: &str,
        body: impl Into<Value>,
        code: &str,
        message: &str,
    ) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        let body: Value = body.into();
        async move {
            let shown: String = body.to_string().chars().take(300).collect();
            let answer = self.call(operation, body).await;
            assert_eq!(answer.refusal(), (400, code.to_owned(), message.to_owned()), "{at}: {operation} {shown}");
        }
    }

    /// A request of this caller, as a client would send it.
    pub fn letter(&self, operation: &str, body: impl Into<Vec<u8>>) -> Letter {
        Letter {
            method: "POST",
            path: "/",
            content_type: Some("application/x-amz-json-1.1"),
            target: Some(format!("TrentService.{operation}")),
            body: body.into(),
            at: strongroom::clock::Clock::now(&*self.house.clock),
            access_key_id: self.access_key_id.clone(),
            signed: true,
            forged: false,
        }
    }

    /// Signs and sends.
    pub async fn send(&self, letter: Letter) -> Answer {
        let response = self.house.router.clone().oneshot(self.request(letter)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        // What the service has done meanwhile by itself is no record of this call.
        let records = self
            .house
            .new_records()
            .into_iter()
            .filter(|record| record["eventType"] == "AwsApiCall")
            .collect::<Vec<_>>();
        for secret in [PIN, ADMINISTRATORS_SECRET, self.secret.expose()] {
            let told = records.iter().map(Value::to_string).chain([String::from_utf8_lossy(&body).into_owned()]);
            told.for_each(|text| assert!(!text.contains(secret), "a secret is told: {text}"));
        }
        Answer { status: head.status.as_u16(), headers: head.headers, body, records }
    }

    fn request(&self, letter: Letter) -> Request<Body> {
        let date = letter.at.basic_iso8601();
        let mut headers = vec![("host", "kms.test"), ("x-amz-date", &date)];
        headers.extend(letter.content_type.map(|value| ("content-type", value)));
        headers.extend(letter.target.as_deref().map(|value| ("x-amz-target", value)));
        let authorization = self.authorization(&letter, &headers);
        let request = Request::builder().method(letter.method).uri(letter.path);
        let mut request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        if letter.signed {
            request = request.header("authorization", authorization);
        }
        request.body(Body::from(letter.body)).unwrap()
    }

    fn authorization(&self, letter: &Letter, headers: &[(&str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let Letter { method, path, body, .. } = letter;
        let received = Received { method, path, query: None, headers: &headers, body };
        let signer = Signer { access_key_id: &letter.access_key_id, secret: &self.secret, region: &self.region };
        let mut authorization = sign(&received, &signer, letter.at);
        if letter.forged {
            let last = authorization.pop().unwrap();
            authorization.push(if last == '0' { '1' } else { '0' });
        }
        authorization
    }

    /// The ARN of a key, or of an alias with its prefix, in this caller's region.
    pub fn arn_of(&self, name: &str) -> String {
        let resource = if name.starts_with("alias/") { name.to_owned() } else { format!("key/{name}") };
        realm(&self.region).arn(resource)
    }

    /// A new symmetric key; answers its id.
    pub async fn key(&self) -> String {
        text(&self.ok("CreateKey", json!({})).await["KeyMetadata"], "KeyId")
    }

    /// How a custom key store is described.
    pub async fn describe_key_store(&self, id: &str) -> Value {
        self.ok("DescribeCustomKeyStores", json!({"CustomKeyStoreId": id})).await["CustomKeyStores"][0].clone()
    }

    /// A new alias of a key.
    pub async fn alias(&self, name: &str, key: &str) {
        self.ok("CreateAlias", json!({"AliasName": name, "TargetKeyId": key})).await;
    }

    /// The ciphertext blob of a plaintext, in base64.
    pub async fn encrypt(&self, key: &str, plaintext: &[u8]) -> String {
        text(&self.ok("Encrypt", json!({"KeyId": key, "Plaintext": base64(plaintext)})).await, "CiphertextBlob")
    }

    /// Gives a key a policy of these statements, beside the one that leaves all to the account.
    pub async fn set_policy(&self, key: &str, statements: Value) {
        let root = json!({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"});
        let mut all = vec![root];
        all.extend(statements.as_array().unwrap().iter().cloned());
        let policy = json!({"Version": "2012-10-17", "Statement": all}).to_string();
        self.ok("PutKeyPolicy", json!({"KeyId": key, "Policy": policy})).await;
    }
}

impl Answer {
    /// The body; `null` if it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("a body of JSON") }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether clients of the operation know such an answer.
    fn is_one_of(&self, operation: &str) {
        let Some(entry) = TABLE.iter().find(|entry| entry.name == operation).filter(|_| self.status != 200) else {
            return;
        };
        let code = Code::ALL.iter().find(|code| code.as_str() == self.code()).expect("an exception");
        assert!(entry.may_answer(*code), "{operation} does not declare {}", self.text());
    }

    /// Status, `__type` and message of a refusal; an absent message is empty here. The body has nothing else.
    pub fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let body = json.as_object().expect("an exception");
        let code = text(&json, "__type");
        let member = if code == "AccessDeniedException" { "Message" } else { "message" };
        let message = body.get(member).map(|_| text(&json, member));
        assert_eq!(body.len(), 1 + usize::from(message.is_some()), "{json}");
        (self.status, code, message.unwrap_or_default())
    }

    /// The exception, or nothing for an answer that is none.
    pub fn code(&self) -> String {
        if self.status == 200 { String::new() } else { self.refusal().1 }
    }

    /// Exactly one audit record was written, which says the same.
    #[track_caller]
    pub fn is_written_down_as(&self, operation: &str) {
        let [record] = &self.records[..] else { panic!("{operation}: {} audit records", self.records.len()) };
        assert_eq!(record["eventName"], operation);
        assert_eq!(record["requestID"], self.headers["x-amzn-requestid"].to_str().unwrap());
        let code = self.code();
        let error = code.replace("AccessDeniedException", "AccessDenied");
        assert_eq!(record.get("errorCode").and_then(Value::as_str).unwrap_or_default(), error, "{record}");
    }

    /// Neither the record nor the text of an error tells the plaintext that was sent or answered.
    fn tells_nothing_of(&self, request: &Value) {
        let sent = request.get("Plaintext").and_then(Value::as_str);
        let answer = if self.status == 200 { self.json() } else { Value::Null };
        let answered = answer.get("Plaintext").and_then(Value::as_str);
        for plaintext in sent.into_iter().chain(answered).filter(|text| text.len() >= 12) {
            assert!(!told(&self.records[0].to_string(), plaintext), "the audit record tells a plaintext");
            assert!(self.status == 200 || !told(&self.text(), plaintext), "an error tells a plaintext");
        }
    }
}

/// Whether `text` has a plaintext that is given in base64: so, as it is, or in hexadecimal.
pub fn told(text: &str, plaintext: &str) -> bool {
    let bytes = STANDARD.decode(plaintext).unwrap_or_default();
    let raw = String::from_utf8(bytes.clone()).ok().filter(|raw| raw.len() >= 8);
    text.contains(plaintext.trim_end_matches('='))
        || raw.is_some_and(|raw| text.contains(&raw))
        || (bytes.len() >= 8 && text.contains(&hex(&bytes)))
}

impl House {
    fn new_records(&self) -> Vec<Value> {
        let mut read = lock(&self.read);
        let file = fs::read(&self.audit).unwrap();
        // What is just being written ends later.
        let whole = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1).max(*read);
        let new = records(&file[*read..whole]);
        *read = whole;
        // What the operator does beside the calls comes when the service brings it.
        new.into_iter().filter(|record| record["eventType"] != "OperatorCommand").collect()
    }

    /// The value with what differs from run to run replaced: key ids by `KEY1`, `KEY2`…, material ids, blobs, markers.
    fn masked(&self, member: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                Value::Object(members.iter().map(|(k, v)| (k.clone(), self.masked(k, v))).collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(|item| self.masked(member, item)).collect(),
            Value::String(text) => self.masked_text(member, text).into(),
            other => other.clone(),
        }
    }

    fn masked_text(&self, member: &str, text: &str) -> String {
        match member {
            "NextMarker" => "MARKER".to_owned(),
            "GrantToken" => "TOKEN".to_owned(),
            "GrantId" => "GRANT".to_owned(),
            "TrustAnchorCertificate" => "PEM".to_owned(),
            "CiphertextBlob"
            | "CiphertextForRecipient"
            | "Plaintext"
            | "PublicKey"
            | "Signature"
            | "Mac"
            | "SharedSecret"
            | "PrivateKeyCiphertextBlob"
            | "PrivateKeyPlaintext" => {
                format!("{} bytes", STANDARD.decode(text).expect("base64").len())
            }
            _ => self.with_names(text),
        }
    }

    fn with_names(&self, text: &str) -> String {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let ids = text.split(|c| !is_id(c)).filter(|word| !word.is_empty());
        ids.fold(text.to_owned(), |masked, id| match (KeyId::parse(id), MaterialId::parse(id)) {
            (Some(_), _) => masked.replace(id, &self.name(id)),
            (_, Some(_)) => masked.replace(id, "MATERIAL"),
            _ if id.starts_with("cks-") => masked.replace(id, "KEYSTORE"),
            _ => masked,
        })
    }

    fn name(&self, id: &str) -> String {
        let mut names = lock(&self.names);
        let known = names.iter().position(|name| name == id);
        let n = known.unwrap_or_else(|| {
            names.push(id.to_owned());
            names.len() - 1
        });
        format!("KEY{}", n + 1)
    }
}

/// A member that is a text.
#[track_caller]
pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {value}")).to_owned()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a member that is a blob.
#[track_caller]
pub fn blob_of(value: &Value, member: &str) -> Vec<u8> {
    STANDARD.decode(text(value, member)).expect("base64")
}

/// `value` with `members` added or overwritten.
pub fn with(mut value: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(members);
    value
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether the log of this process, at its most talkative, has this text.
pub fn logged(text: &str) -> bool {
    lock(log()).windows(text.len()).any(|window| window == text.as_bytes())
}

fn records(file: &[u8]) -> Vec<Value> {
    file.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).expect("a record")).collect()
}

fn account() -> AccountId {
    AccountId::try_from(ACCOUNT.to_owned()).unwrap()
}

fn realm(region: &str) -> Realm {
    Realm { partition: "aws".to_owned(), account: account(), region: region.to_owned() }
}

fn settings(keeping: Keeping) -> Settings {
    Settings {
        partition: "aws".to_owned(),
        account: account(),
        regions: None,
        deadline: LONG,
        generation_deadline: LONG,
        staleness: LONG * 60,
        keeping,
        attestation_roots: Arc::default(),
    }
}

async fn administrator(admin: &Admin, vault: &Vault, house: House) -> Caller {
    let made = Credentials { access_key_id: ADMINISTRATOR.to_owned(), secret: secret(ADMINISTRATORS_SECRET) };
    if !admin.has_access_key(ADMINISTRATOR) {
        let policies = BTreeMap::from([("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned())]);
        admin.create_principal("administrator", policies).await.unwrap();
        admin.insert_access_key(vault, "administrator", &made).await.unwrap();
    }
    Caller {
        house: Arc::new(house),
        arn: admin.principal("administrator").unwrap().arn().to_owned(),
        access_key_id: made.access_key_id,
        region: REGION.to_owned(),
        secret: made.secret,
    }
}

/// The operator of a world, whose acts are in its trail.
fn operator(audit: &Path) -> Operator {
    let person =
        OsUser { user_id: 1000, user_name: Some("ada".to_owned()), sudo_user: None, login_user_id: Some(1000) };
    Operator { person, trail: TrailAddress::of(audit).unwrap() }
}

/// Stores a key past the API.
pub async fn insert_key(store: &Store, key: &Key) {
    store.insert_key(&Unrecorded, key, || Ok::<_, std::convert::Infallible>(())).await.unwrap();
}

/// Whether an HSM has this symmetric material.
pub async fn has(hsm: &Hsm, material: &Arc<Material>) -> bool {
    let input = SecretBytes::from(b"x".to_vec());
    let command = Command::Seal { material: Arc::clone(material), aad: Vec::new(), input };
    hsm.call(command, Instant::now() + LONG).await.is_ok()
}

/// The HSM of all worlds: materials are random and wrapped, so worlds do not meet in it.
pub fn hsm() -> &'static Hsm {
    static HSM: OnceLock<Hsm> = OnceLock::new();
    HSM.get_or_init(|| Hsm::start(hsm::Settings { cached_handles: 512, ..token() }).unwrap())
}

/// A cluster on a token of its own, to be opened with the PIN.
pub fn cluster(id: &str) -> Cluster {
    cluster_on(id, bare_token())
}

/// The same on this token.
pub fn cluster_on(id: &str, token: hsm::Settings) -> Cluster {
    let (name, pin) = (id.to_owned(), PinSource::nowhere());
    Cluster { settings: hsm::Settings { name, pin, holds_wrapping_key: false, ..token }, backup: None }
}

/// A cluster for worlds that look at it and do not connect to it; all have the same token.
pub fn looked_at(id: &str) -> Cluster {
    static TOKEN: OnceLock<hsm::Settings> = OnceLock::new();
    cluster_on(id, TOKEN.get_or_init(bare_token).clone())
}

/// A certificate, PEM.
pub fn trust_anchor() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| rcgen::generate_simple_self_signed(vec!["cluster".to_owned()]).unwrap().cert.pem())
}

/// A request that makes a custom key store of [`CLUSTER`].
pub fn wanted_key_store() -> Value {
    json!({
        "CustomKeyStoreName": "ours",
        "CloudHsmClusterId": CLUSTER,
        "KeyStorePassword": PIN,
        "TrustAnchorCertificate": trust_anchor(),
    })
}

/// Material of this spec and usage, made once; none for what the HSM cannot make.
async fn material(spec: KeySpec, usage: KeyUsage) -> Vec<Arc<Material>> {
    type Made = HashMap<(KeySpec, KeyUsage), Arc<Material>>;
    static MADE: tokio::sync::Mutex<Option<Made>> = tokio::sync::Mutex::const_new(None);
    if !hsm().supports(spec, usage).unwrap() {
        return Vec::new();
    }
    let mut made = MADE.lock().await;
    let made = made.get_or_insert_default();
    if let Some(material) = made.get(&(spec, usage)) {
        return vec![Arc::clone(material)];
    }
    let mut id = [spec as u8; 32];
    id[31] = usage as u8;
    let place =
        if hsm().wraps(spec, usage) { Place::Wrapped } else { Place::Token { cka_id: id[16..].try_into().unwrap() } };
    let command = Command::Generate { id: MaterialId(id), spec, usage, place };
    let material = match hsm().call(command, Instant::now() + LONG).await {
        Ok(hsm::Answer::Material(material)) => material,
        Ok(_) => panic!("another answer"),
        Err(error) => panic!("no material for {spec} {usage}: {error}"),
    };
    let material = made.entry((spec, usage)).or_insert(Arc::new(material));
    vec![Arc::clone(material)]
}

fn key(spec: KeySpec, usage: KeyUsage, materials: Vec<Arc<Material>>) -> Key {
    let policy = default_key_policy("aws", &account());
    let mut key = Key::new(KeyId::random(false), REGION, (spec, usage), policy, START);
    materials.into_iter().for_each(|material| key.put_first(material));
    key
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    &LOG
}

struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(log()).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that anybody logs in this process, kept for [`logged`].
fn listen_to_the_log() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        log.with_writer(|| LogWriter).init();
    });
}
