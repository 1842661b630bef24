//! The connections to the HSMs of custom key stores.
//!
//! The store has the wanted state of each key store. [`Kms::tend_key_stores`], called again and again, connects and disconnects HSMs
//! to match it, and stores the outcome. So a key store that was connected is connected again after a start, and every process that
//! serves opens its HSM.
//!
//! [`Kms::hsm_of`] is the one place that knows which HSM a key is in.
//!
//! An HSM that is away while its store is CONNECTED is an error that clients retry. A PIN that it refuses, whenever that is,
//! makes the store FAILED and is not tried again.

use std::{
    collections::HashMap,
    pin::Pin,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use crate::{
    error::{Code, KmsError},
    failure,
    hsm::{Clusters, Hsm, Kind, Standing},
    key::{
        Key,
        custom_store::{ConnectionError, ConnectionState, CustomKeyStore, KeyStoreId},
    },
    kms::Kms,
    secret::SecretText,
    store::{ChangeError, Unrecorded},
};

/// The outcome of connecting: `None` as long as it goes on, else success, or why it has failed for good.
type ConnectOutcome = Option<Result<(), ConnectionError>>;

/// The HSMs of custom key stores.
pub(super) struct KeyStoreConnections {
    pub(super) clusters: Clusters,
    /// Held during a round, so that there is one at a time. True once there are to be no more.
    round: tokio::sync::Mutex<bool>,
    open: RwLock<OpenHsms>,
}

#[derive(Default)]
struct OpenHsms {
    /// HSMs that are open or being opened.
    connected: HashMap<KeyStoreId, Connected>,
    /// HSMs that have been told to stop.
    stopping: Vec<(KeyStoreId, Hsm)>,
}

/// An HSM that was opened for the connection of this number.
#[derive(Clone)]
struct Connected {
    hsm: Hsm,
    connection: u64,
}

impl KeyStoreConnections {
    pub(super) fn new(clusters: Clusters) -> Self {
        Self { clusters, round: tokio::sync::Mutex::default(), open: RwLock::default() }
    }

    fn connected(&self, id: &KeyStoreId) -> Option<Connected> {
        self.open.read().connected.get(id).cloned()
    }

    fn change<T>(&self, change: impl FnOnce(&mut OpenHsms) -> T) -> T {
        change(&mut self.open.write())
    }

    /// The states of the HSMs of key stores.
    pub(super) fn standing(&self) -> Vec<Standing> {
        let open = self.open.read();
        open.connected.values().flat_map(|connected| connected.hsm.standing()).collect()
    }

    /// Stops HSMs that are open for a connection which is not `wanted` any more.
    fn stop_unwanted(&self, wanted: impl Fn(&KeyStoreId, u64) -> bool) {
        self.change(|open| {
            let unwanted: Vec<_> =
                open.connected.extract_if(|id, connected| !wanted(id, connected.connection)).collect();
            for (id, connected) in unwanted {
                connected.hsm.stop();
                open.stopping.push((id, connected.hsm));
            }
        });
    }

    /// Forgets HSMs that have stopped; answers the key stores of those that have not yet.
    async fn forget_stopped(&self) -> Vec<KeyStoreId> {
        let stopping = self.change(|open| std::mem::take(&mut open.stopping));
        let mut running = Vec::new();
        for (id, hsm) in stopping {
            if !hsm.stopped(Duration::ZERO).await {
                running.push((id, hsm));
            }
        }
        let ids = running.iter().map(|(id, _)| id.clone()).collect();
        self.change(|open| open.stopping.append(&mut running));
        ids
    }
}

impl Kms {
    /// The HSM that `key` is in: the service's own, or that of its custom key store.
    ///
    /// # Errors
    /// `DependencyTimeoutException` while the HSM of the custom key store is not open here.
    pub(super) fn hsm_of(&self, key: &Key) -> Result<Hsm, KmsError> {
        self.hsm_in(key.custom_key_store())
    }

    /// The HSM of a custom key store, or the service's own.
    ///
    /// # Errors
    /// As [`Self::hsm_of`].
    pub(super) fn hsm_in(&self, key_store: Option<&KeyStoreId>) -> Result<Hsm, KmsError> {
        match key_store {
            None => Ok(self.hsm.clone()),
            Some(id) => self
                .connections
                .connected(id)
                .map(|connected| connected.hsm)
                .ok_or_else(|| failure::not_open("the HSM of the custom key store is not open")),
        }
    }

    /// True if the HSM of a custom key store is open now; always true for the service's own HSMs.
    pub(super) fn reaches(&self, key_store: Option<&KeyStoreId>) -> bool {
        key_store.is_none_or(|id| self.connections.connected(id).is_some_and(|connected| connected.hsm.is_open()))
    }

    /// One step of every key store towards its wanted state; answers how many have another state now.
    ///
    /// # Errors
    /// As the store answers, or the HSM that seals passwords; the next round goes on.
    pub async fn tend_key_stores(&self) -> Result<usize, KmsError> {
        let over = self.connections.round.lock().await;
        if *over {
            return Ok(0);
        }
        let all = self.store.view().key_stores();
        let wanted: HashMap<_, _> =
            all.iter().filter(|store| store.is_wanted()).map(|store| (&store.id, store.connection)).collect();
        self.connections.stop_unwanted(|id, connection| wanted.get(id) == Some(&connection));
        let stopping = self.connections.forget_stopped().await;
        let mut changed = 0;
        let mut failed = None;
        for key_store in &all {
            match self.tend(key_store, &stopping).await {
                Ok(has_changed) => changed += usize::from(has_changed),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(changed), Err)
    }

    async fn tend(&self, key_store: &CustomKeyStore, stopping: &[KeyStoreId]) -> Result<bool, KmsError> {
        let outcome = match key_store.state {
            ConnectionState::Disconnecting if !stopping.contains(&key_store.id) => {
                self.put(key_store, |stored| stored.part()).await?;
                return Ok(true);
            }
            ConnectionState::Connected | ConnectionState::Connecting => self.connection(key_store).await?,
            _ => None,
        };
        let news = match (key_store.state, outcome) {
            (ConnectionState::Connected, Some(Ok(()))) | (_, None) => return Ok(false),
            (_, Some(news)) => news,
        };
        match news {
            Ok(()) => tracing::info!(key_store = %key_store.id, "the custom key store is connected"),
            Err(error) => {
                tracing::warn!(key_store = %key_store.id, %error, "the custom key store could not be connected");
            }
        }
        self.put(key_store, |stored| stored.conclude(key_store.connection, news)).await?;
        Ok(true)
    }

    async fn put(&self, key_store: &CustomKeyStore, change: impl FnOnce(&mut CustomKeyStore)) -> Result<(), KmsError> {
        let changed =
            self.store.change_key_store(&Unrecorded, &key_store.region, key_store.id.as_str(), |stored, _| {
                change(stored);
                Ok::<_, std::convert::Infallible>(())
            });
        match changed.await {
            Ok(()) | Err(ChangeError::NotFound) => Ok(()),
            Err(ChangeError::Refused(never)) => match never {},
            Err(ChangeError::Store(error)) => Err(failure::store(error)),
        }
    }

    /// The outcome of connecting, which is begun if it is not. An HSM that was open once and is away for a while is no failure, as
    /// with AWS.
    async fn connection(&self, key_store: &CustomKeyStore) -> Result<ConnectOutcome, KmsError> {
        let Some(connected) = self.connections.connected(&key_store.id) else { return self.begin(key_store).await };
        if connected.hsm.is_open() {
            return Ok(Some(Ok(())));
        }
        let was_open = key_store.is_connected();
        let refusal = connected.hsm.refusal().filter(|error| !was_open || error.kind == Kind::PinRefused);
        Ok(refusal.map(|error| {
            tracing::warn!(key_store = %key_store.id, %error, "the HSM of a custom key store cannot be opened");
            Err(failure::connection(&error))
        }))
    }

    /// Opens the HSM; that it is open is seen in a later round.
    async fn begin(&self, key_store: &CustomKeyStore) -> Result<ConnectOutcome, KmsError> {
        let Some(cluster) = self.connections.clusters.get(&key_store.cluster) else {
            return Ok(Some(Err(ConnectionError::ClusterNotFound)));
        };
        let deadline = Instant::now() + self.settings.deadline;
        let opened = self.vault.open_password(key_store.id.as_str(), &key_store.sealed_password, deadline).await;
        let password = match opened {
            Err(error) if error.code == Code::KMSInternalException => {
                tracing::error!(key_store = %key_store.id, error = error.with_causes(), "the password cannot be opened");
                return Ok(Some(Err(ConnectionError::InternalError)));
            }
            // The service's own HSM is away, which is logged elsewhere.
            Err(_) => return Ok(None),
            Ok(password) => password,
        };
        let hsm = self.connections.clusters.open(cluster, password, self.password_of(key_store));
        let connected = Connected { hsm, connection: key_store.connection };
        self.connections.change(|open| open.connected.insert(key_store.id.clone(), connected));
        Ok(None)
    }

    /// Opens the sealed password again, for each login.
    fn password_of(
        &self,
        key_store: &CustomKeyStore,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = Result<SecretText, String>> + Send>> + Send + Sync + use<> {
        let vault = self.vault.clone();
        let time_limit = self.settings.deadline;
        let id = key_store.id.to_string();
        let sealed = key_store.sealed_password.clone();
        move || {
            let vault = vault.clone();
            let id = id.clone();
            let sealed = sealed.clone();
            Box::pin(async move {
                let opened = vault.open_password(&id, &sealed, Instant::now() + time_limit).await;
                opened.map_err(|error| format!("the password cannot be opened: {}", error.with_causes()))
            })
        }
    }

    /// Stops the HSMs of all key stores for good, and waits for that. Answers false if some have not stopped within `time_limit`. The
    /// wanted states stay in the store, so that the HSMs are opened again at the next start.
    pub async fn close_key_stores(&self, time_limit: Duration) -> bool {
        *self.connections.round.lock().await = true;
        self.connections.stop_unwanted(|_, _| false);
        let stopping = self.connections.change(|open| std::mem::take(&mut open.stopping));
        let until = Instant::now() + time_limit;
        let mut stopped = true;
        for (_, hsm) in stopping {
            stopped &= hsm.stopped(until.saturating_duration_since(Instant::now())).await;
        }
        stopped
    }
}
