//! Custom key stores: operations make, change, list and delete them, and set their wanted state, which `key_store_connections` realizes.
//!
//! A custom key store of the kind AWS_CLOUDHSM is a further HSM of the configuration (`[[clusters]]`) without its PIN, which is
//! the KeyStorePassword: sealed in the store, opened for each login and sent to the HSM's worker. Its keys are objects on it.
//! That they are Unavailable while it is not CONNECTED is derived and never stored. A key store moves between clusters of the
//! same `backup` only, since what their HSMs hold cannot be compared before it is connected. External key stores are refused:
//! with ValidationException where one is to be made, with UnsupportedOperationException where a key is.

use std::sync::Arc;

use crate::{
    error::{Code, KmsError},
    failure,
    hsm::Cluster,
    key::custom_store::{ConnectionState, CustomKeyStore, KeyStoreId},
    kms::{call_change::CallChange, cx::Cx},
    secret::SecretText,
    store::KeyStoreSurroundings,
};

/// Custom key stores of one region (AWS KMS: "Resource quotas").
const MAX_KEY_STORES: usize = 10;

/// The changes of UpdateCustomKeyStore.
#[derive(Default)]
pub struct KeyStoreUpdate {
    /// Another name.
    pub name: Option<String>,
    /// Another password of the cluster's user.
    pub password: Option<SecretText>,
    /// Another cluster, which has the same keys.
    pub cluster: Option<String>,
}

impl Cx<'_> {
    /// The custom key store of that id. The caller has been authorized for what is about key stores.
    ///
    /// # Errors
    /// `CustomKeyStoreNotFoundException`.
    pub fn key_store(&self, id: &str) -> Result<Arc<CustomKeyStore>, KmsError> {
        self.kms.store.view().key_store(&self.realm().region, id).ok_or_else(not_found)
    }

    /// The custom key store of that id, if its HSM may be asked for something.
    ///
    /// # Errors
    /// `CustomKeyStoreNotFoundException`, `CustomKeyStoreInvalidStateException`.
    pub fn connected_key_store(&self, id: &str) -> Result<Arc<CustomKeyStore>, KmsError> {
        let key_store = self.key_store(id)?;
        key_store.demand(ConnectionState::Connected)?;
        Ok(key_store)
    }

    /// The next `n` custom key stores of the realm, by id.
    pub fn key_stores_after(&self, after: Option<&str>, n: usize) -> Vec<Arc<CustomKeyStore>> {
        self.kms.store.view().key_stores_after(&self.realm().region, after, n)
    }

    /// Makes a custom key store, which is not connected, if `may` allows it.
    ///
    /// # Errors
    /// Those of `may`; `CustomKeyStoreNameInUseException`, `LimitExceededException`, and of the cluster; else as HSM and
    /// store answer.
    pub async fn create_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        name: String,
        cluster: String,
        trust_anchor: String,
        password: SecretText,
    ) -> Result<KeyStoreId, KmsError> {
        self.cluster(&cluster).await?;
        let id = KeyStoreId::random();
        let sealed_password = self.kms.vault.seal_password(id.as_str(), &password, self.deadline()).await?;
        let key_store = CustomKeyStore {
            id: id.clone(),
            region: self.realm().region.clone(),
            name,
            cluster,
            trust_anchor,
            sealed_password,
            state: ConnectionState::Disconnected,
            error: None,
            connection: 0,
            created: self.now(),
        };
        let act = CallChange::of(self);
        let judge = |around: &KeyStoreSurroundings| {
            act.decide(may)?;
            name_is_free(&key_store.region, &key_store.name, around)?;
            cluster_is_free(&key_store.cluster, around)?;
            below_quota(&key_store.region, around)
        };
        let made = self.kms.store.insert_key_store(&act, &key_store, judge).await;
        made.map_err(|error| failure::change(error, not_found))?;
        act.conclude();
        Ok(id)
    }

    /// Asks for the connection of a custom key store, if `may` allows it. It is connected later.
    ///
    /// # Errors
    /// Those of `may`; `CustomKeyStoreInvalidStateException`, and of the cluster; else as the store answers.
    pub async fn connect_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        id: &str,
    ) -> Result<(), KmsError> {
        let key_store = self.key_store(id)?;
        CustomKeyStore::clone(&key_store).connect()?;
        if !key_store.is_wanted() {
            self.cluster(&key_store.cluster).await.map_err(not_active)?;
        }
        self.change_key_store(may, id, |key_store, _| key_store.connect()).await
    }

    /// Asks for the end of a connection, if `may` allows it. It is disconnected later, but from now on no key of it is used.
    ///
    /// # Errors
    /// Those of `may`; `CustomKeyStoreInvalidStateException`; else as the store answers.
    pub async fn disconnect_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        id: &str,
    ) -> Result<(), KmsError> {
        self.change_key_store(may, id, |key_store, _| key_store.disconnect()).await
    }

    /// Changes a custom key store, if `may` allows it. All but the name can be changed only while it is not connected.
    ///
    /// # Errors
    /// Those of `may`; `CustomKeyStoreInvalidStateException`, `CustomKeyStoreNameInUseException`, and of the cluster and
    /// `CloudHsmClusterNotRelatedException`; else as HSM and store answer.
    pub async fn update_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        id: &str,
        update: KeyStoreUpdate,
    ) -> Result<(), KmsError> {
        let KeyStoreUpdate { name, password, cluster } = update;
        let key_store = self.key_store(id)?;
        let must_be_disconnected = password.is_some() || cluster.is_some();
        if must_be_disconnected {
            key_store.demand(ConnectionState::Disconnected)?;
        }
        if let Some(other) = cluster.as_deref().filter(|other| *other != key_store.cluster) {
            self.cluster(other).await?;
            self.related(&key_store.cluster, other)?;
        }
        let sealed = match &password {
            Some(password) => Some(self.kms.vault.seal_password(id, password, self.deadline()).await?),
            None => None,
        };
        self.change_key_store(may, id, |key_store, around| {
            if must_be_disconnected {
                key_store.demand(ConnectionState::Disconnected)?;
            }
            if let Some(name) = name {
                name_is_free(&key_store.region, &name, around)?;
                key_store.name = name;
            }
            if let Some(cluster) = cluster.filter(|cluster| *cluster != key_store.cluster) {
                // UpdateCustomKeyStore does not declare that a cluster is in use.
                cluster_is_free(&cluster, around)
                    .map_err(|error| error.named(Code::CloudHsmClusterInvalidConfigurationException))?;
                key_store.cluster = cluster;
            }
            key_store.sealed_password = sealed.unwrap_or_else(|| std::mem::take(&mut key_store.sealed_password));
            Ok(())
        })
        .await
    }

    /// Deletes a custom key store, if `may` allows it.
    ///
    /// # Errors
    /// Those of `may`; `CustomKeyStoreInvalidStateException`, `CustomKeyStoreHasCMKsException`; else as the store answers.
    pub async fn delete_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        id: &str,
    ) -> Result<(), KmsError> {
        let act = CallChange::of(self);
        let judge = |key_store: &CustomKeyStore, around: &KeyStoreSurroundings| {
            act.decide(may)?;
            key_store.demand(ConnectionState::Disconnected)?;
            match around.has_keys {
                false => Ok(()),
                true => Err(KmsError::new(Code::CustomKeyStoreHasCMKsException, format!("{id} has KMS keys."))),
            }
        };
        let deleted = self.kms.store.delete_key_store(&act, &self.realm().region, id, judge).await;
        deleted.map_err(|error| failure::change(error, not_found))?;
        act.conclude();
        Ok(())
    }

    async fn change_key_store(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<(), KmsError>,
        id: &str,
        change: impl FnOnce(&mut CustomKeyStore, &KeyStoreSurroundings) -> Result<(), KmsError>,
    ) -> Result<(), KmsError> {
        let act = CallChange::of(self);
        let decided = |key_store: &mut CustomKeyStore, around: &KeyStoreSurroundings| {
            act.decide(may)?;
            change(key_store, around)
        };
        let changed = self.kms.store.change_key_store(&act, &self.realm().region, id, decided).await;
        changed.map_err(|error| failure::change(error, not_found))?;
        act.conclude();
        Ok(())
    }

    /// Checks that the configuration has the cluster, that it is there, and that it can hold keys.
    ///
    /// # Errors
    /// `CloudHsmClusterNotFoundException`, `CloudHsmClusterNotActiveException`, `CloudHsmClusterInvalidConfigurationException`.
    async fn cluster(&self, id: &str) -> Result<(), KmsError> {
        let cluster = self.known_cluster(id)?;
        let looked = tokio::time::timeout_at(self.deadline().into(), self.kms.connections.clusters.look(cluster)).await;
        let looked = looked.map_err(|_| failure::not_open("the cluster did not answer in time"))?;
        match looked.map_err(|error| failure::cluster(id, error))? {
            true => Ok(()),
            false => {
                let text = format!("{id} has no user that can log in, or does not do AES-GCM.");
                Err(KmsError::new(Code::CloudHsmClusterInvalidConfigurationException, text))
            }
        }
    }

    fn known_cluster(&self, id: &str) -> Result<&Cluster, KmsError> {
        self.kms
            .connections
            .clusters
            .get(id)
            .ok_or_else(|| KmsError::new(Code::CloudHsmClusterNotFoundException, format!("There is no cluster {id}.")))
    }

    /// Checks that two clusters have the same keys. A cluster that is not configured any more is taken to have others.
    fn related(&self, id: &str, other: &str) -> Result<(), KmsError> {
        let other = self.known_cluster(other)?;
        match self.kms.connections.clusters.get(id).is_some_and(|cluster| cluster.is_related_to(other)) {
            true => Ok(()),
            false => {
                let text = format!("{} was not restored from the same backup as {id}.", other.settings.name);
                Err(KmsError::new(Code::CloudHsmClusterNotRelatedException, text))
            }
        }
    }
}

/// The error of ConnectCustomKeyStore for a cluster that was configured when the key store was made, and is not any more.
fn not_active(error: KmsError) -> KmsError {
    match error.code {
        Code::CloudHsmClusterNotFoundException => error.named(Code::CloudHsmClusterNotActiveException),
        _ => error,
    }
}

/// Checks that there is no other key store of this name in the region.
fn name_is_free(region: &str, name: &str, around: &KeyStoreSurroundings) -> Result<(), KmsError> {
    if !around.others.iter().any(|other| other.region == region && other.name == name) {
        return Ok(());
    }
    let text = format!("There is a custom key store named {name} already.");
    Err(KmsError::new(Code::CustomKeyStoreNameInUseException, text))
}

/// Checks that no other key store, of any region, has this cluster.
fn cluster_is_free(cluster: &str, around: &KeyStoreSurroundings) -> Result<(), KmsError> {
    if !around.others.iter().any(|other| other.cluster == cluster) {
        return Ok(());
    }
    let text = format!("{cluster} is the cluster of another custom key store.");
    Err(KmsError::new(Code::CloudHsmClusterInUseException, text))
}

/// Checks that the region may have one more key store.
fn below_quota(region: &str, around: &KeyStoreSurroundings) -> Result<(), KmsError> {
    if around.others.iter().filter(|other| other.region == region).count() < MAX_KEY_STORES {
        return Ok(());
    }
    let text = format!("There are {MAX_KEY_STORES} custom key stores, which is as many as there can be.");
    Err(KmsError::new(Code::LimitExceededException, text))
}

fn not_found() -> KmsError {
    KmsError::bare(Code::CustomKeyStoreNotFoundException)
}
