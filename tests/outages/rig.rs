//! A service whose HSM can be made to fail: the service in this process, the module in a worker process of its own.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use strongroom::{
    api::{self, BodyLimits},
    arn::{AccountId, Realm},
    audit::{Trail, TrailAddress},
    authn::Vault,
    call::Calls,
    clock::{Clock, Moment, Running, SystemClock},
    error::KmsError,
    hsm::{self, Clusters, Hsm, Launch},
    identity::OsUser,
    key::{Key, reference::KeyId, tombstone::Tombstone},
    kms::{
        KeyStoreKind, Kms, Machines, Settings,
        admin::{ADMINISTRATOR_POLICY, Admin, Credentials, Operator, found},
    },
    sigv4::{Received, Signer, sign},
    store::Store,
};
use strongroom_faults::control::{self, Controller};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::tokens::token;

/// By when the HSM must have answered.
pub const DEADLINE: Duration = Duration::from_millis(400);
/// The same where a key is made.
pub const GENERATION_DEADLINE: Duration = Duration::from_secs(3);

const ACCOUNT: &str = "111122223333";
const REGION: &str = "eu-test-1";

/// What is different from rig to rig.
pub struct Options {
    pub keeping: KeyStoreKind,
    pub sessions: usize,
    pub cached_handles: usize,
    /// Memory by which a worker may grow.
    pub growth_bytes: u64,
    /// HSMs, each behind faults of its own.
    pub members: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { keeping: KeyStoreKind::Wrapped, sessions: 2, cached_handles: 1, growth_bytes: 256 << 20, members: 1 }
    }
}

/// A service whose HSMs can be made to fail.
pub struct Rig {
    pub runtime: Runtime,
    pub hsm: Hsm,
    pub kms: Arc<Kms>,
    /// One for each member.
    pub faults: Vec<Controller>,
    pub admin: Admin,
    pub store: Store,
    vault: Vault,
    router: Router,
    credentials: Credentials,
    _dir: TempDir,
}

/// What came back, and after how long.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub took: Duration,
}

impl Rig {
    pub fn new(options: &Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (settings, faults) = members(dir.path(), options);
        let entered = runtime.enter();
        let hsm = Hsm::open(settings, worker());
        drop(entered);
        let service = runtime.block_on(service(dir.path(), &hsm, options));
        let (kms, store, admin, vault, credentials) = service;
        let limits =
            BodyLimits { body_bytes: 1 << 20, all_bodies_bytes: 1 << 26, body_timeout: Duration::from_secs(60) };
        let router = api::router(Arc::new(Calls::new(Arc::clone(&kms))), limits, &[]);
        Self { runtime, hsm, kms, faults, admin, store, vault, router, credentials, _dir: dir }
    }

    /// The faults of the only member.
    pub fn faults(&self) -> &Controller {
        &self.faults[0]
    }

    /// Calls an operation as the administrator.
    pub fn call(&self, operation: &str, body: &Value) -> Answer {
        self.runtime.block_on(self.caller().call(operation, body))
    }

    /// What a call answers that succeeds.
    pub fn ok(&self, operation: &str, body: &Value) -> Value {
        let answer = self.call(operation, body);
        assert_eq!(answer.status, 200, "{operation}: {}", answer.body);
        answer.body
    }

    /// The administrator, to call from elsewhere.
    pub fn caller(&self) -> Caller {
        let Credentials { access_key_id, secret } = &self.credentials;
        let credentials = Credentials { access_key_id: access_key_id.clone(), secret: secret.clone() };
        Caller { router: self.router.clone(), credentials: Arc::new(credentials) }
    }

    /// The administrator with an access key that was never used.
    pub fn newcomer(&self) -> Caller {
        let made = self.runtime.block_on(self.admin.create_access_key(&self.vault, "administrator")).unwrap();
        Caller { router: self.router.clone(), credentials: Arc::new(made) }
    }

    /// Destroys a key as the task does when its time has come, whatever its state.
    pub fn delete(&self, id: &str) -> Result<(), KmsError> {
        let id = KeyId::parse(id).unwrap();
        let account = AccountId::try_from(ACCOUNT.to_owned()).unwrap();
        let realm = Realm { partition: "aws".to_owned(), account, region: REGION.to_owned() };
        self.runtime.block_on(async {
            let moment = Moment { now: SystemClock.now(), running: Running::default() };
            let bury = |key: &Key, relatives: &[&Key]| Some(Tombstone::of(key, relatives, &realm, moment.now));
            let tombstone = self.store.delete_key(REGION, id, moment, bury).await.unwrap().unwrap();
            self.kms.finish_deletion(&tombstone).await
        })
    }

    /// Asks until it succeeds; after how long, if in time.
    pub fn recovers(&self, operation: &str, body: &Value, limit: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < limit {
            if self.call(operation, body).status == 200 {
                return Some(began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.faults.iter().for_each(Controller::clear);
        self.hsm.stop();
        self.runtime.block_on(self.hsm.stopped(Duration::from_secs(10)));
    }
}

/// Somebody who signs requests.
#[derive(Clone)]
pub struct Caller {
    router: Router,
    credentials: Arc<Credentials>,
}

impl Caller {
    pub async fn call(&self, operation: &str, body: &Value) -> Answer {
        let began = Instant::now();
        let response = self.router.clone().oneshot(self.request(operation, body.to_string())).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: head.status.as_u16(), body, took: began.elapsed() }
    }

    fn request(&self, operation: &str, body: String) -> Request<Body> {
        let now = SystemClock.now();
        let (date, target) = (now.basic_iso8601(), format!("TrentService.{operation}"));
        let headers = [
            ("host", "kms.test"),
            ("x-amz-date", &date),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        let signed: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let received = Received { method: "POST", path: "/", query: None, headers: &signed, body: body.as_bytes() };
        let Credentials { access_key_id, secret } = &*self.credentials;
        let authorization = sign(&received, &Signer { access_key_id, secret, region: REGION }, now);
        let request = Request::builder().method("POST").uri("/").header("authorization", authorization);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::from(body)).unwrap()
    }
}

impl Answer {
    /// The exception, or nothing for an answer that is none.
    pub fn code(&self) -> &str {
        self.body.get("__type").and_then(Value::as_str).unwrap_or_default()
    }
}

/// How the program is started as a worker process.
pub fn worker() -> Launch {
    Launch::Program { program: env!("CARGO_BIN_EXE_strongroom").into(), arguments: vec!["hsm-worker".to_owned()] }
}

/// Members, each a token of its own behind a copy of the module for faults. Several share one wrapping key only if there is
/// one token behind them all.
fn members(dir: &Path, options: &Options) -> (Vec<hsm::Settings>, Vec<Controller>) {
    let token = token();
    let member = |number: usize| {
        let place = dir.join(format!("member-{number}"));
        std::fs::create_dir(&place).unwrap();
        let faults = Controller::new(&place).unwrap();
        let module = control::install(&place, &control::built(), &token.module).unwrap();
        let settings = hsm::Settings {
            name: format!("member-{number}"),
            module,
            ledger: dir.join("logins"),
            environment: BTreeMap::from([("RUST_LOG".to_owned(), "off".to_owned())]),
            sessions: options.sessions,
            cached_handles: options.cached_handles,
            growth_bytes: options.growth_bytes,
            ..token.clone()
        };
        (settings, faults)
    };
    (0..options.members).map(member).unzip()
}

async fn service(dir: &Path, hsm: &Hsm, options: &Options) -> (Arc<Kms>, Store, Admin, Vault, Credentials) {
    let account = AccountId::try_from(ACCOUNT.to_owned()).unwrap();
    let began = Instant::now();
    while hsm.standing().iter().any(|hsm| hsm.trouble.is_some()) {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", hsm.standing());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let store = Store::open(&dir.join("strongroom.sqlite")).await.unwrap();
    let vault = Vault::new(hsm.clone());
    found(&store, hsm, &vault, &account, SystemClock.now()).await.unwrap();
    let audit = dir.join("audit.jsonl");
    let os_user = OsUser { user_id: 0, user_name: None, sudo_user: None, login_user_id: None };
    let operator = Operator { os_user, trail: TrailAddress::of(&audit).unwrap() };
    let admin = Admin::new(store.clone(), account.clone(), "aws".to_owned(), operator, SystemClock.now());
    let policies = BTreeMap::from([("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned())]);
    admin.create_principal("administrator", policies).await.unwrap();
    let credentials = admin.create_access_key(&vault, "administrator").await.unwrap();
    let trail = Trail::open(&audit, false).unwrap();
    let (hsm, clusters, clock) = (hsm.clone(), Clusters::new(Vec::new(), worker()), Arc::new(SystemClock));
    let machines = Machines { store: store.clone(), hsm, clusters, trail, clock };
    let settings = Settings {
        partition: "aws".to_owned(),
        account,
        regions: None,
        deadline: DEADLINE,
        generation_deadline: GENERATION_DEADLINE,
        staleness: Duration::from_secs(3600),
        keeping: options.keeping,
        attestation_roots: Arc::default(),
    };
    (Arc::new(Kms::new(settings, machines, vault.clone())), store, admin, vault, credentials)
}
