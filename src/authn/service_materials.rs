//! The deployment's own materials: the newest seals, each opens what it has sealed.
//!
//! Anybody who may create grants has tokens sealed, so their number comes near to what GCM allows a key in some years. Invocations
//! are counted like those of KMS keys; when a material has been used for half of them, it is given a successor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use crate::{
    error::KmsError,
    failure,
    hsm::{
        Hsm,
        command::{Generate, Place},
    },
    invocations::Invocations,
    key::{
        material::{Material, MaterialId},
        spec::{KeySpec, KeyUsage},
    },
    store::{Deployment, Store},
};

/// Invocations reserved by one write. Each verb that makes an access key wastes one block.
const BLOCK: u64 = 1 << 10;

/// How long it may take to make a successor.
const GENERATION: Duration = Duration::from_secs(10);

/// The deployment's own materials, which seal and open for the service itself.
pub(super) struct ServiceMaterials {
    store: Store,
    invocations: Invocations,
    founding: Arc<Material>,
    successors: RwLock<Vec<Arc<Material>>>,
}

impl ServiceMaterials {
    /// Those of `deployment`.
    pub(super) fn new(store: Store, deployment: &Deployment) -> Self {
        Self {
            invocations: Invocations::in_blocks(store.clone(), BLOCK),
            store,
            founding: Arc::new(deployment.service_material.clone()),
            successors: RwLock::new(shared(&deployment.successors)),
        }
    }

    /// The first, which needs no name.
    pub(super) fn founding(&self) -> &Arc<Material> {
        &self.founding
    }

    fn newest(&self) -> Arc<Material> {
        let successors = self.successors.read();
        Arc::clone(successors.last().unwrap_or(&self.founding))
    }

    /// The material to seal with, once that is counted.
    ///
    /// # Errors
    /// As the store answers.
    pub(super) async fn next(&self, hsm: &Hsm) -> Result<Arc<Material>, KmsError> {
        let material = self.newest();
        if self.invocations.take(material.id).await? {
            // Half of what it may do is left; the next block tries again.
            if let Err(error) = self.succeed(hsm, material.id).await {
                tracing::warn!(
                    error = error.with_causes(),
                    "the service's own material is worn and could not be given a successor"
                );
            }
        }
        Ok(material)
    }

    /// Gives the material `worn` a successor, unless it has got one from another process.
    async fn succeed(&self, hsm: &Hsm, worn: MaterialId) -> Result<(), KmsError> {
        self.read_again().await?;
        if self.newest().id != worn {
            return Ok(());
        }
        let mut id = MaterialId([0; 32]);
        getrandom::fill(&mut id.0).map_err(|error| KmsError::internal(error.to_string()))?;
        let spec = KeySpec::SymmetricDefault;
        let usage = KeyUsage::EncryptDecrypt;
        let command = Generate { id, spec, usage, place: Place::Wrapped };
        let made = hsm.call(command, Instant::now() + GENERATION).await;
        let successor = made.map_err(failure::hsm_about_own_key)?;
        self.store.succeed_service_material(worn, &successor).await.map_err(failure::store)?;
        tracing::info!("the service's own material has a successor");
        self.read_again().await
    }

    /// The successor of that name, which another process may have made.
    ///
    /// # Errors
    /// As the store answers.
    pub(super) async fn named(&self, id: MaterialId) -> Result<Option<Arc<Material>>, KmsError> {
        if let Some(known) = self.known(id) {
            return Ok(Some(known));
        }
        self.read_again().await?;
        Ok(self.known(id))
    }

    fn known(&self, id: MaterialId) -> Option<Arc<Material>> {
        let successors = self.successors.read();
        successors.iter().find(|material| material.id == id).cloned()
    }

    async fn read_again(&self) -> Result<(), KmsError> {
        if let Some(deployment) = self.store.deployment().await.map_err(failure::store)? {
            *self.successors.write() = shared(&deployment.successors);
        }
        Ok(())
    }
}

fn shared(materials: &[Material]) -> Vec<Arc<Material>> {
    materials.iter().cloned().map(Arc::new).collect()
}
