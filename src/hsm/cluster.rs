//! HSMs beside the service's own: the clusters of custom key stores. They are configured without a PIN, and opened when somebody
//! brings one.

use crate::secret::SecretText;

use super::Hsm;
use super::engine::setup::FindToken;
use super::error::HsmError;
use super::pin::HeldPin;
use super::process::{Launch, carry_out};
use super::settings::Settings;

/// One HSM that waits for its PIN.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The HSM, called by the id of the cluster. Its PIN comes from nowhere.
    pub settings: Settings,
    /// A name that clusters share if they were restored from one backup and so hold the same keys.
    pub backup: Option<String>,
}

/// All of them, and how they are opened.
#[derive(Debug, Clone)]
pub struct Clusters {
    all: Vec<Cluster>,
    launch: Launch,
}

impl Cluster {
    /// True if what is an object on `other` is one here, too.
    pub fn is_related_to(&self, other: &Self) -> bool {
        self.settings.name == other.settings.name || (self.backup.is_some() && self.backup == other.backup)
    }
}

impl Clusters {
    /// These HSMs, each of which has a worker process of its own when it is open.
    pub fn new(all: Vec<Cluster>, launch: Launch) -> Self {
        Self { all, launch }
    }

    /// The cluster of that id.
    pub fn get(&self, id: &str) -> Option<&Cluster> {
        self.all.iter().find(|cluster| cluster.settings.name == id)
    }

    /// Opens a cluster with this PIN, as [`Hsm::open`] does; whenever it is needed once more, `again` fetches it. Must be
    /// called in a runtime.
    pub fn open<C>(&self, cluster: &Cluster, pin: SecretText, again: impl Fn() -> C + Send + Sync + 'static) -> Hsm
    where
        C: Future<Output = Result<SecretText, String>> + Send + 'static,
    {
        let settings = Settings { held_pin: Some(HeldPin::new(pin, again)), ..cluster.settings.clone() };
        Hsm::open(vec![settings], self.launch.clone())
    }

    /// Looks whether a cluster is there; whether it is set up for use, too. Nobody logs in.
    ///
    /// # Errors
    /// Why it is not there.
    pub async fn look(&self, cluster: &Cluster) -> Result<bool, HsmError> {
        carry_out(&self.launch, &cluster.settings, FindToken).await
    }
}
