//! How a world is made: what a test chooses of it, and all that is the same in every world.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use strongroom::{
    api::{self, BodyLimits},
    attestation::Roots,
    audit::{Trail, TrailAddress},
    authn::Vault,
    call::Calls,
    clock::ManualClock,
    hsm::{Cluster, Clusters, Hsm, Launch},
    identity::OsUser,
    kms::{
        Kms, Machines, Settings,
        admin::{ADMINISTRATOR_POLICY, Admin, Credentials, Operator, found},
    },
    store::Store,
};
use tempfile::TempDir;

use super::{
    ADMINISTRATORS_SECRET, BODY_BYTES, Keeping, LONG, REGION, START, World, account,
    caller::Caller,
    hsm::hsm,
    key_stores::{CLUSTER, looked_at},
    log,
    service::Service,
};
use crate::tokens::secret;

const ADMINISTRATOR: &str = "AKIAADMINISTRATOR";
const LIMITS: BodyLimits = BodyLimits { body_bytes: BODY_BYTES, all_bodies_bytes: 64 * BODY_BYTES, body_timeout: LONG };

/// A world that is not opened yet.
pub struct Builder {
    dir: TempDir,
    database: PathBuf,
    clock: Arc<ManualClock>,
    trail: Option<Trail>,
    configuration: Configuration,
}

/// What stays the same over a stop and a start.
#[derive(Clone)]
pub(super) struct Configuration {
    keeping: Keeping,
    clusters: Clusters,
    hsm: Hsm,
    attestation_roots: Arc<Roots>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            keeping: Keeping::Wrapped,
            clusters: Clusters::new(vec![looked_at(CLUSTER)], Launch::Thread),
            hsm: hsm().clone(),
            attestation_roots: Arc::default(),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("strongroom.sqlite");
        let clock = Arc::new(ManualClock::new(START));
        Self { dir, database, clock, trail: None, configuration: Configuration::default() }
    }
}

impl Builder {
    /// Where keys are kept: wrapped in the store, if nothing else is said.
    pub fn keeping(mut self, keeping: Keeping) -> Self {
        self.configuration.keeping = keeping;
        self
    }

    /// The clusters of custom key stores: [`CLUSTER`], if nothing else is said.
    pub fn clusters(mut self, clusters: Vec<Cluster>) -> Self {
        self.configuration.clusters = Clusters::new(clusters, Launch::Thread);
        self
    }

    /// The HSM of the keys. Access keys stay with that of all worlds; keys that were made before are of no use on another.
    pub fn hsm(mut self, hsm: &Hsm) -> Self {
        self.configuration.hsm = hsm.clone();
        self
    }

    /// The roots that vouch for recipients: none, if nothing else is said.
    pub fn attestation_roots(mut self, roots: Roots) -> Self {
        self.configuration.attestation_roots = Arc::new(roots);
        self
    }

    /// Where the audit records of calls go until the next start, in place of the world's own trail.
    pub fn trail(mut self, trail: Trail) -> Self {
        self.trail = Some(trail);
        self
    }

    /// Starts the service.
    pub async fn open(self) -> World {
        log::listen();
        let Self { dir, database, clock, trail, configuration } = self;
        let store = Store::open(&database).await.unwrap();
        let vault = Vault::new(hsm().clone());
        found(&store, hsm(), &vault, &account(), START).await.unwrap();
        let audit = dir.path().join("audit.jsonl");
        let own_trail = Trail::open(&audit, false).unwrap();
        let admin = Admin::new(store.clone(), account(), "aws".to_owned(), operator(&audit), START);
        let trail = trail.unwrap_or(own_trail);
        let kms = configuration.service(store.clone(), trail, clock.clone(), &vault);
        let router = api::router(Arc::new(Calls::new(kms.clone())), LIMITS, &[]);
        let service = Service::new(router, clock.clone(), audit);
        let administrator = administrator(&admin, &vault, service).await;
        World { kms, store, admin, clock, vault, dir, database, configuration, administrator }
    }
}

impl Configuration {
    fn service(&self, store: Store, trail: Trail, clock: Arc<ManualClock>, vault: &Vault) -> Arc<Kms> {
        let (hsm, clusters) = (self.hsm.clone(), self.clusters.clone());
        Arc::new(Kms::new(self.settings(), Machines { store, hsm, clusters, trail, clock }, vault.clone()))
    }

    fn settings(&self) -> Settings {
        Settings {
            partition: "aws".to_owned(),
            account: account(),
            regions: None,
            deadline: LONG,
            generation_deadline: LONG,
            staleness: LONG * 60,
            keeping: self.keeping,
            attestation_roots: self.attestation_roots.clone(),
        }
    }
}

/// Stopping, and starting again in the same way or another.
impl World {
    /// A world as most are: keys wrapped in the store.
    pub async fn new() -> Self {
        Self::build().open().await
    }

    /// A world that differs in what is chosen before it is opened.
    pub fn build() -> Builder {
        Builder::default()
    }

    /// The same world after a stop and a start.
    pub async fn reopened(self) -> Self {
        self.stopped().await.open().await
    }

    /// The same world after a stop, to be started in another way.
    pub async fn stopped(self) -> Builder {
        assert!(self.kms.close_key_stores(LONG).await);
        let Self { dir, database, configuration, clock, .. } = self;
        Builder { dir, database, clock, trail: None, configuration }
    }

    /// Another process on the same store, which neither tells the other of its changes.
    pub async fn neighbour(&self) -> Self {
        let (database, clock) = (self.database.clone(), self.clock.clone());
        let configuration = self.configuration.clone();
        Builder { database, clock, configuration, ..Builder::default() }.open().await
    }
}

async fn administrator(admin: &Admin, vault: &Vault, service: Service) -> Caller {
    let made = Credentials { access_key_id: ADMINISTRATOR.to_owned(), secret: secret(ADMINISTRATORS_SECRET) };
    if !admin.has_access_key(ADMINISTRATOR) {
        let policies = BTreeMap::from([("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned())]);
        admin.create_principal("administrator", policies).await.unwrap();
        admin.insert_access_key(vault, "administrator", &made).await.unwrap();
    }
    Caller {
        service: Arc::new(service),
        arn: admin.principal("administrator").unwrap().arn().to_owned(),
        access_key_id: made.access_key_id,
        region: REGION.to_owned(),
        secret: made.secret,
    }
}

/// The operator of a world, whose acts are in its trail.
fn operator(audit: &Path) -> Operator {
    let os_user =
        OsUser { user_id: 1000, user_name: Some("ada".to_owned()), sudo_user: None, login_user_id: Some(1000) };
    Operator { os_user, trail: TrailAddress::of(audit).unwrap() }
}
