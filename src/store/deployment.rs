//! The deployment: who we are. One document, made at the first start.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use super::{Store, StoreError, StoreErrorKind, Unrecorded, document::StoredDocument, driver, driver::Driver};
use crate::{
    arn::AccountId,
    clock::Timestamp,
    key::material::{Material, MaterialId},
};

/// The facts of a deployment that are the same for all nodes and for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name.
    pub id: Uuid,
    /// The account that owns the keys.
    pub account: AccountId,
    /// When it was made.
    pub created: Timestamp,
    /// The key, in the HSM, that seals the secrets of access keys and what else is the service's own.
    pub service_material: Material,
    /// Those that came after it, one when another was worn, oldest first: the last one seals, and all open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successors: Vec<Material>,
}

impl Deployment {
    /// The material that seals.
    pub fn newest_material(&self) -> &Material {
        self.successors.last().unwrap_or(&self.service_material)
    }
}

const NAME: &str = "deployment";

impl StoredDocument for Deployment {
    const KIND: &'static str = "deployment";

    fn id(&self) -> String {
        NAME.to_owned()
    }
}

/// The account of the deployment in the database at `path`, which is only read and must be there; `None` before the first start.
///
/// # Errors
/// If it cannot be read.
pub async fn account_in(path: &Path) -> Result<Option<AccountId>, StoreError> {
    const WHAT: &str = "read the deployment";
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await.map_err(StoreError::sql(WHAT))?;
    let stored = driver::read(&mut connection, WHAT, Deployment::KIND, NAME).await;
    connection.close().await.map_err(StoreError::sql(WHAT))?;
    let deployment = stored?.map(|stored| Deployment::read(WHAT, NAME, &stored.body)).transpose()?;
    Ok(deployment.map(|deployment| deployment.account))
}

/// The deployment in the database at `path`, of which nothing else is read; `None` before the first start. The database is made
/// if there is none.
///
/// # Errors
/// As [`Store::open`] and [`Store::deployment`].
pub async fn deployment_in(path: &Path) -> Result<Option<Deployment>, StoreError> {
    stored(&Driver::open(path).await?).await
}

async fn stored(driver: &Driver) -> Result<Option<Deployment>, StoreError> {
    const WHAT: &str = "read the deployment";
    let mut connection = driver.reader(WHAT).await?;
    let stored = driver::read(&mut connection, WHAT, Deployment::KIND, NAME).await?;
    connection.give_back();
    stored.map(|stored| Deployment::read(WHAT, NAME, &stored.body)).transpose()
}

impl Store {
    /// The deployment; `None` before the first start.
    ///
    /// # Errors
    /// If the store fails, or if there is a deployment that cannot be read: then none must be made in its place.
    pub async fn deployment(&self) -> Result<Option<Deployment>, StoreError> {
        stored(&self.0.driver).await
    }

    /// Gives the service `successor` in the place of the material `worn`, unless another has taken that already.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn succeed_service_material(&self, worn: MaterialId, successor: &Material) -> Result<(), StoreError> {
        let succeed = |deployment: &mut Deployment| {
            if deployment.newest_material().id == worn {
                deployment.successors.push(successor.clone());
            }
        };
        self.change_if_there("give the service other material", &Unrecorded, NAME, succeed).await.map(drop)
    }

    /// Stores the deployment.
    ///
    /// # Errors
    /// `Conflict` if there is one: another node was faster, and its deployment is the one.
    pub async fn insert_deployment(&self, deployment: &Deployment) -> Result<(), StoreError> {
        const WHAT: &str = "store the deployment";
        if self.insert(WHAT, &Unrecorded, deployment).await? {
            Ok(())
        } else {
            Err(StoreError::new(WHAT, StoreErrorKind::Conflict))
        }
    }
}
