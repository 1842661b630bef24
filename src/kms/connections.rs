//! The HSMs of custom key stores that are connected.
//!
//! The store says what is wanted; [`Kms::tend_key_stores`], called again and again, brings it about and stores what came of it.
//! So a key store that was connected is connected again after a start, and every process that serves opens its HSM.
//!
//! [`Kms::hsm_of`] is the one place that says which HSM a key is in.

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

/// What came of a connection: nothing yet, or that it is there, or why it failed for good.
type Outcome = Option<Result<(), ConnectionError>>;

/// The HSMs of custom key stores.
pub(super) struct Connections {
    pub(super) clusters: Clusters,
    /// One round at a time; whether there are to be no more.
    round: tokio::sync::Mutex<bool>,
    links: RwLock<Links>,
}

#[derive(Default)]
struct Links {
    /// Those that are open or being opened.
    open: HashMap<KeyStoreId, Link>,
    /// Those that have been told to stop.
    leaving: Vec<(KeyStoreId, Hsm)>,
}

/// An HSM that was opened for the connection of this number.
#[derive(Clone)]
struct Link {
    hsm: Hsm,
    connection: u64,
}

impl Connections {
    pub(super) fn new(clusters: Clusters) -> Self {
        Self { clusters, round: tokio::sync::Mutex::default(), links: RwLock::default() }
    }

    fn link(&self, id: &KeyStoreId) -> Option<Link> {
        self.links.read().open.get(id).cloned()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        change(&mut self.links.write())
    }

    /// How the HSMs of key stores stand.
    pub(super) fn standing(&self) -> Vec<Standing> {
        let links = self.links.read();
        links.open.values().flat_map(|link| link.hsm.standing()).collect()
    }

    /// Takes HSMs out of service that are open for a connection which is not `wanted` any more.
    fn let_go(&self, wanted: impl Fn(&KeyStoreId, u64) -> bool) {
        self.change(|links| {
            let gone: Vec<_> = links.open.extract_if(|id, link| !wanted(id, link.connection)).collect();
            for (id, link) in gone {
                link.hsm.stop();
                links.leaving.push((id, link.hsm));
            }
        });
    }

    /// Forgets HSMs that have stopped; which ones have not.
    async fn see_off(&self) -> Vec<KeyStoreId> {
        let leaving = self.change(|links| std::mem::take(&mut links.leaving));
        let mut here = Vec::new();
        for (id, hsm) in leaving {
            if !hsm.stopped(Duration::ZERO).await {
                here.push((id, hsm));
            }
        }
        let ids = here.iter().map(|(id, _)| id.clone()).collect();
        self.change(|links| links.leaving.append(&mut here));
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
                .link(id)
                .map(|link| link.hsm)
                .ok_or_else(|| failure::not_open("the HSM of the custom key store is not open")),
        }
    }

    /// Whether what is in a custom key store, or in none, can be got at now. What cannot waits.
    pub(super) fn reaches(&self, key_store: Option<&KeyStoreId>) -> bool {
        key_store.is_none_or(|id| self.connections.link(id).is_some_and(|link| link.hsm.is_open()))
    }

    /// One step towards what the key stores are wanted to be; answers how many have changed.
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
        self.connections.let_go(|id, connection| wanted.get(id) == Some(&connection));
        let leaving = self.connections.see_off().await;
        let (mut changed, mut failed) = (0, None);
        for key_store in &all {
            match self.tend(key_store, &leaving).await {
                Ok(has_changed) => changed += usize::from(has_changed),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(changed), Err)
    }

    async fn tend(&self, key_store: &CustomKeyStore, leaving: &[KeyStoreId]) -> Result<bool, KmsError> {
        let outcome = match key_store.state {
            ConnectionState::Disconnecting if !leaving.contains(&key_store.id) => {
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

    /// What came of a connection, which is begun if it is not.
    ///
    /// An HSM that was open once and is away for a while is no failure of the connection, as with AWS.
    async fn connection(&self, key_store: &CustomKeyStore) -> Result<Outcome, KmsError> {
        let Some(link) = self.connections.link(&key_store.id) else { return self.begin(key_store).await };
        if link.hsm.is_open() {
            return Ok(Some(Ok(())));
        }
        let was_open = key_store.is_connected();
        let refusal = link.hsm.refusal().filter(|error| !was_open || error.kind == Kind::PinRefused);
        Ok(refusal.map(|error| {
            tracing::warn!(key_store = %key_store.id, %error, "the HSM of a custom key store cannot be opened");
            Err(failure::connection(&error))
        }))
    }

    /// Opens the HSM; that it is open is seen in a later round.
    async fn begin(&self, key_store: &CustomKeyStore) -> Result<Outcome, KmsError> {
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
            // Said elsewhere: it is the service's own HSM that is away.
            Err(_) => return Ok(None),
            Ok(password) => password,
        };
        let hsm = self.connections.clusters.open(cluster, password, self.password_of(key_store));
        let link = Link { hsm, connection: key_store.connection };
        self.connections.change(|links| links.open.insert(key_store.id.clone(), link));
        Ok(None)
    }

    /// What opens the sealed password again, whenever somebody is to log in.
    fn password_of(
        &self,
        key_store: &CustomKeyStore,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = Result<SecretText, String>> + Send>> + Send + Sync + use<> {
        let (vault, patience) = (self.vault.clone(), self.settings.deadline);
        let (id, sealed) = (key_store.id.to_string(), key_store.sealed_password.clone());
        move || {
            let (vault, id, sealed) = (vault.clone(), id.clone(), sealed.clone());
            Box::pin(async move {
                let opened = vault.open_password(&id, &sealed, Instant::now() + patience).await;
                opened.map_err(|error| format!("the password cannot be opened: {}", error.with_causes()))
            })
        }
    }

    /// Takes the HSMs of all key stores out of service for good, and waits until that has come about; false if it has not by
    /// then. What is stored stays, so that they are opened again at the next start.
    pub async fn close_key_stores(&self, patience: Duration) -> bool {
        *self.connections.round.lock().await = true;
        self.connections.let_go(|_, _| false);
        let leaving = self.connections.change(|links| std::mem::take(&mut links.leaving));
        let until = Instant::now() + patience;
        let mut stopped = true;
        for (_, hsm) in leaving {
            stopped &= hsm.stopped(until.saturating_duration_since(Instant::now())).await;
        }
        stopped
    }
}
