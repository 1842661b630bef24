//! Custom key stores and the clusters behind them.

use std::{
    convert::Infallible,
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strongroom::{
    hsm::{self, Cluster, PinSource},
    key::custom_store::{ConnectionState, CustomKeyStore, KeyStoreId},
    store::Unrecorded,
};

use super::{LONG, REGION, START, World};
use crate::tokens::{PIN, bare_token};

/// The cluster that every world knows.
pub const CLUSTER: &str = "cluster-2abcdefghij";

impl World {
    /// A custom key store of [`CLUSTER`], put into the store past the API; its password opens nothing.
    pub async fn plant_key_store(&self, state: ConnectionState) -> String {
        let id = KeyStoreId::random();
        let key_store = CustomKeyStore {
            id: id.clone(),
            region: REGION.to_owned(),
            name: format!("planted {id}"),
            cluster: CLUSTER.to_owned(),
            trust_anchor: trust_anchor().to_owned(),
            sealed_password: Vec::new(),
            state,
            error: None,
            connection: 1,
            created: START,
        };
        self.store.insert_key_store(&Unrecorded, &key_store, |_| Ok::<_, Infallible>(())).await.unwrap();
        id.to_string()
    }

    /// Takes all custom key stores away past the API.
    pub async fn forget_key_stores(&self) {
        for key_store in self.store.view().key_stores() {
            let all = |_: &CustomKeyStore, _: &_| Ok::<_, Infallible>(());
            self.store.delete_key_store(&Unrecorded, &key_store.region, key_store.id.as_str(), all).await.unwrap();
        }
    }

    /// How a custom key store is described.
    pub async fn describe_key_store(&self, id: &str) -> Value {
        self.ok("DescribeCustomKeyStores", json!({"CustomKeyStoreId": id})).await["CustomKeyStores"][0].clone()
    }

    /// Does background work until no custom key store is on its way from one connection state to another.
    pub async fn settle(&self) {
        use ConnectionState::{Connecting, Disconnecting};
        let begun = Instant::now();
        loop {
            self.work().await;
            let all = self.store.view().key_stores();
            if !all.iter().any(|key_store| matches!(key_store.state, Connecting | Disconnecting)) {
                return;
            }
            assert!(begun.elapsed() < LONG, "{all:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A cluster on a token of its own, to be opened with the PIN.
pub fn cluster(id: &str) -> Cluster {
    cluster_on(id, bare_token())
}

/// The same on this token.
pub fn cluster_on(id: &str, token: hsm::Settings) -> Cluster {
    let (name, pin) = (id.to_owned(), PinSource::nowhere());
    Cluster { settings: hsm::Settings { name, pin, holds_wrapping_key: false, ..token }, backup: None }
}

/// A cluster for worlds that look at it and do not connect to it; all have the same token.
pub fn looked_at(id: &str) -> Cluster {
    static TOKEN: OnceLock<hsm::Settings> = OnceLock::new();
    cluster_on(id, TOKEN.get_or_init(bare_token).clone())
}

/// A certificate, PEM.
pub fn trust_anchor() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| rcgen::generate_simple_self_signed(vec!["cluster".to_owned()]).unwrap().cert.pem())
}

/// A request that makes a custom key store of [`CLUSTER`].
pub fn wanted_key_store() -> Value {
    json!({
        "CustomKeyStoreName": "ours",
        "CloudHsmClusterId": CLUSTER,
        "KeyStorePassword": PIN,
        "TrustAnchorCertificate": trust_anchor(),
    })
}
