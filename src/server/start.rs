//! The start: opens the store and the HSMs, and puts the service together.

use std::{sync::Arc, time::Duration};

use super::{
    ExitError, HSM_START,
    machines::{admin, members, open_store},
};
use crate::{
    audit::Trail,
    authn::Vault,
    clock::SystemClock,
    config::Config,
    error::Code,
    hsm::{Clusters, Hsm, Launch},
    kms::{
        Kms, Machines,
        admin::{self, Admin},
    },
    tasks,
};

/// How long a start waits for an HSM before it goes on without one.
const FIRST_WAIT: Duration = Duration::from_secs(3);

/// The service, with what the operator's verbs need beside it.
pub struct Service {
    /// The service itself.
    pub kms: Arc<Kms>,
    /// The operator's verbs.
    pub admin: Admin,
    /// Seals the secrets of access keys.
    pub vault: Vault,
    pub(super) hsm: Hsm,
}

/// Opens the store and the HSMs, puts the service together and begins its background work. HSMs that cannot be opened now
/// are opened when they can be; until then the service says that it is not ready.
///
/// # Errors
/// If something is missing or wrong; the text says what.
pub async fn start(config: &Config, launch: Launch) -> Result<Service, ExitError> {
    let settings = config.kms_settings().map_err(ExitError::new)?;
    let store = open_store(config).await?;
    let trail = Trail::open(&config.audit.path, config.audit.sync);
    let trail = trail.map_err(|error| ExitError::new(format!("{}: {error}", config.audit.path.display())))?;
    let hsm = Hsm::open(members(config)?, launch.clone());
    let clusters = Clusters::new(config.cluster_settings().map_err(ExitError::new)?, launch);
    let vault = Vault::new(hsm.clone());
    admin::furnish(&store, &vault, &config.account).await.map_err(ExitError::new)?;
    let admin = admin(config, store.clone())?;
    let machines = Machines { store, hsm: hsm.clone(), clusters, trail, clock: Arc::new(SystemClock) };
    let kms = Arc::new(Kms::new(settings, machines, vault.clone()));
    found_if_possible(&kms, &hsm).await?;
    // Waiting for the HSM may have taken seconds: what was read of the store before is out of date.
    kms.follow_store().await.map_err(ExitError::new)?;
    // Records that another process has left in the store come to the trail before new ones.
    kms.deliver_records().await.map_err(ExitError::new)?;
    tasks::start(&kms);
    Ok(Service { kms, admin, vault, hsm })
}

/// Founds the deployment, if it is not and an HSM is open soon. Otherwise a background task does.
async fn found_if_possible(kms: &Kms, hsm: &Hsm) -> Result<(), ExitError> {
    if hsm.opened(FIRST_WAIT).await.is_err() {
        return Ok(());
    }
    match kms.found().await {
        // An HSM that fails now is asked again in the background.
        Err(error) if error.code != Code::DependencyTimeoutException => Err(ExitError::new(error)),
        _ => Ok(()),
    }
}

impl Service {
    /// Waits for an HSM to be open.
    ///
    /// # Errors
    /// Why none is.
    pub async fn wait_for_hsm(&self) -> Result<(), ExitError> {
        Ok(self.hsm.opened(HSM_START).await?)
    }
}
