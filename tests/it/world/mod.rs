//! A whole service in one process: a store of its own, an HSM that all worlds share, a clock that stands still, and the
//! router, called without a socket.
//!
//! Whoever calls is a [`Caller`]; a [`World`] is one too, its administrator. Every call is checked beside what its test
//! asks for: it left exactly one audit record, which says what the answer says, and no secret is in either.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
pub use strongroom::kms::KeyStoreKind as Keeping;
use strongroom::{
    arn::{AccountId, Realm},
    authn::Vault,
    clock::{ManualClock, Timestamp},
    error::KmsError,
    key::material::Material,
    kms::{Kms, admin::Admin, seed::Seed},
    store::Store,
    tasks,
};
use tempfile::TempDir;

use crate::tokens::PIN;

mod answer;
mod builder;
mod caller;
mod database;
mod hsm;
mod key_stores;
mod log;
mod masks;
mod service;
mod stored;
mod values;

pub use self::{
    answer::Answer,
    caller::{Caller, Draft},
    database::Writer,
    hsm::{has, hsm, open_hsm},
    key_stores::{CLUSTER, cluster, cluster_on, looked_at, trust_anchor, wanted_key_store},
    log::logged,
    stored::insert_key,
    values::{base64, blob_of, hex, text, with},
};

/// The region of every caller who names no other.
pub const REGION: &str = "eu-test-1";
/// The account of everything.
pub const ACCOUNT: &str = "111122223333";
/// The longest body.
pub const BODY_BYTES: usize = 1 << 20;
/// The beginning of the year 2026, when every world begins.
pub const START: Timestamp = Timestamp::from_ms(1_767_225_600_000);

const ADMINISTRATORS_SECRET: &str = "administrators-secret-access-key-0123456";
const LONG: Duration = Duration::from_secs(120);

/// A service and its administrator.
pub struct World {
    pub kms: Arc<Kms>,
    pub store: Store,
    pub admin: Admin,
    pub clock: Arc<ManualClock>,
    vault: Vault,
    dir: TempDir,
    /// The file of the store; in `dir`, but for a neighbour.
    database: PathBuf,
    configuration: builder::Configuration,
    administrator: Caller,
}

impl Deref for World {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.administrator
    }
}

impl World {
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
        self.audit().into_iter().filter(|record| record["eventType"] == "OperatorCommand").collect()
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

    /// Whether the HSM still has this material.
    pub async fn hsm_has(&self, material: &Arc<Material>) -> bool {
        has(hsm(), material).await
    }

    /// What nobody may be told.
    pub fn secrets(&self) -> [String; 2] {
        [PIN.to_owned(), ADMINISTRATORS_SECRET.to_owned()]
    }

    /// Every audit record since the world began.
    pub fn audit(&self) -> Vec<Value> {
        self.administrator.service.records()
    }

    /// The file of the store.
    pub fn database(&self) -> &Path {
        &self.database
    }
}

fn account() -> AccountId {
    AccountId::try_from(ACCOUNT.to_owned()).unwrap()
}

fn realm(region: &str) -> Realm {
    Realm { partition: "aws".to_owned(), account: account(), region: region.to_owned() }
}
