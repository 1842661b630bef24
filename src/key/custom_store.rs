//! Custom key stores (AWS KMS: "Key stores"): HSMs beside the service's own, in which keys of their owner are kept.
//!
//! The rules here are pure: which connection state follows which. `kms/key_stores.rs` opens the HSM.
//!
//! TrustAnchorCertificate is checked for its form and shown again; PKCS#11 has no use for it. A cluster is active if its token
//! is found, without a login.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{bytes, state::KeyState};
use crate::{
    aws_names::aws_enum,
    clock::Timestamp,
    error::{Code, KmsError},
};

aws_enum! {
    /// CustomKeyStoreType.
    KeyStoreType {
        AwsCloudHsm = "AWS_CLOUDHSM",
        ExternalKeyStore = "EXTERNAL_KEY_STORE",
    }
}

aws_enum! {
    /// ConnectionState of a custom key store.
    ConnectionState {
        Connected = "CONNECTED",
        Connecting = "CONNECTING",
        Failed = "FAILED",
        Disconnected = "DISCONNECTED",
        Disconnecting = "DISCONNECTING",
    }
}

aws_enum! {
    /// ConnectionErrorCode: why a custom key store could not be connected. Those of AWS's that can happen here.
    ConnectionError {
        InvalidCredentials = "INVALID_CREDENTIALS",
        ClusterNotFound = "CLUSTER_NOT_FOUND",
        NetworkErrors = "NETWORK_ERRORS",
        InternalError = "INTERNAL_ERROR",
        UserLockedOut = "USER_LOCKED_OUT",
        UserNotFound = "USER_NOT_FOUND",
    }
}

/// CustomKeyStoreId: `cks-` and 17 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyStoreId(String);

impl KeyStoreId {
    /// A name that no other key store has.
    pub fn random() -> Self {
        let digits = Uuid::new_v4().simple().to_string();
        Self(format!("cks-{}", digits.get(..17).unwrap_or_default()))
    }

    /// The id that was stored as this text.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyStoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True if a text is a CloudHsmClusterId: `cluster-` and 11 to 16 characters.
pub fn is_cluster_id(text: &str) -> bool {
    let is_one = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'2'..=b'7');
    text.strip_prefix("cluster-").is_some_and(|rest| (11..=16).contains(&rest.len()) && rest.bytes().all(is_one))
}

/// A custom key store, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomKeyStore {
    /// Its id.
    pub id: KeyStoreId,
    /// The region it belongs to.
    pub region: String,
    /// Its friendly name, unique in its region.
    pub name: String,
    /// The id of its cluster, which the configuration knows. No two key stores have the same.
    pub cluster: String,
    /// The certificate that vouches for the cluster, PEM.
    pub trust_anchor: String,
    /// The password of the cluster's user, sealed by the service.
    #[serde(with = "bytes")]
    pub sealed_password: Vec<u8>,
    /// How it stands.
    pub state: ConnectionState,
    /// Why it could not be connected, while it is FAILED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ConnectionError>,
    /// Grows each time that it is to be connected: what came of one connection says nothing of another.
    #[serde(default)]
    pub connection: u64,
    /// When it was made.
    pub created: Timestamp,
}

impl CustomKeyStore {
    /// True if its keys can be used.
    pub fn is_connected(&self) -> bool {
        self.state == ConnectionState::Connected
    }

    /// True if its HSM is to be open.
    pub fn is_wanted(&self) -> bool {
        matches!(self.state, ConnectionState::Connected | ConnectionState::Connecting)
    }

    /// Asks for a connection. One that is there or coming is left as it is.
    ///
    /// # Errors
    /// `CustomKeyStoreInvalidStateException`.
    pub fn connect(&mut self) -> Result<(), KmsError> {
        match self.state {
            ConnectionState::Connected | ConnectionState::Connecting => Ok(()),
            ConnectionState::Failed | ConnectionState::Disconnecting => Err(self.invalid_state()),
            ConnectionState::Disconnected => {
                self.state = ConnectionState::Connecting;
                self.connection += 1;
                Ok(())
            }
        }
    }

    /// The outcome of the connection of this number; of another than the last, nothing is to be known any more.
    pub fn conclude(&mut self, connection: u64, outcome: Result<(), ConnectionError>) {
        if self.connection == connection && self.is_wanted() {
            (self.state, self.error) = match outcome {
                Ok(()) => (ConnectionState::Connected, None),
                Err(error) => (ConnectionState::Failed, Some(error)),
            };
        }
    }

    /// Asks for the end of the connection.
    ///
    /// # Errors
    /// `CustomKeyStoreInvalidStateException`.
    pub fn disconnect(&mut self) -> Result<(), KmsError> {
        match self.state {
            ConnectionState::Disconnected | ConnectionState::Disconnecting => Err(self.invalid_state()),
            ConnectionState::Connected | ConnectionState::Connecting | ConnectionState::Failed => {
                (self.state, self.error) = (ConnectionState::Disconnecting, None);
                Ok(())
            }
        }
    }

    /// Its HSM is closed.
    pub fn part(&mut self) {
        if self.state == ConnectionState::Disconnecting {
            self.state = ConnectionState::Disconnected;
        }
    }

    /// Insists on a state.
    ///
    /// # Errors
    /// `CustomKeyStoreInvalidStateException`.
    pub fn demand(&self, state: ConnectionState) -> Result<(), KmsError> {
        if self.state == state { Ok(()) } else { Err(self.invalid_state()) }
    }

    fn invalid_state(&self) -> KmsError {
        let text =
            format!("The connection state of {} is {}, which is not valid for this operation.", self.id, self.state);
        KmsError::new(Code::CustomKeyStoreInvalidStateException, text)
    }

    /// The state that a key of this key store shows, if this is the one that is stored with it.
    pub fn state_of_key(&self, stored: KeyState) -> KeyState {
        match stored {
            KeyState::Enabled | KeyState::Disabled if !self.is_connected() => KeyState::Unavailable,
            stored => stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(state: ConnectionState) -> CustomKeyStore {
        CustomKeyStore {
            id: KeyStoreId::random(),
            region: "r".to_owned(),
            name: "n".to_owned(),
            cluster: "c".to_owned(),
            trust_anchor: String::new(),
            sealed_password: Vec::new(),
            state,
            error: None,
            connection: 1,
            created: Timestamp::from_ms(0),
        }
    }

    /// The state that follows each state; nothing where it refuses.
    fn after(step: impl Fn(&mut CustomKeyStore) -> Result<(), KmsError>) -> String {
        let outcome = |state: &ConnectionState| {
            let mut store = store(*state);
            step(&mut store).map_or("-", |()| store.state.as_str())
        };
        ConnectionState::ALL.iter().map(outcome).collect::<Vec<_>>().join(" ")
    }

    // Of CONNECTED, CONNECTING, FAILED, DISCONNECTED, DISCONNECTING.
    #[test]
    fn the_states_follow_each_other_as_aws_says() {
        assert_eq!(after(CustomKeyStore::connect), "CONNECTED CONNECTING - CONNECTING -");
        assert_eq!(after(CustomKeyStore::disconnect), "DISCONNECTING DISCONNECTING DISCONNECTING - -");
        let parted = "CONNECTED CONNECTING FAILED DISCONNECTED DISCONNECTED";
        assert_eq!(
            after(|store| {
                store.part();
                Ok(())
            }),
            parted
        );
        let demand = |store: &mut CustomKeyStore| store.demand(ConnectionState::Disconnected);
        assert_eq!(after(demand), "- - - DISCONNECTED -");
    }

    #[test]
    fn an_outcome_counts_for_the_connection_that_it_is_of_and_while_that_is_wanted() {
        let conclude = |connection, outcome| {
            after(move |store| {
                store.conclude(connection, outcome);
                Ok(())
            })
        };
        assert_eq!(conclude(1, Ok(())), "CONNECTED CONNECTED FAILED DISCONNECTED DISCONNECTING");
        let failed = Err(ConnectionError::InternalError);
        assert_eq!(conclude(1, failed), "FAILED FAILED FAILED DISCONNECTED DISCONNECTING");
        assert_eq!(conclude(0, failed), "CONNECTED CONNECTING FAILED DISCONNECTED DISCONNECTING");
    }

    #[test]
    fn keys_are_unavailable_unless_the_key_store_is_connected() {
        let of = |state, stored| store(state).state_of_key(stored);
        for state in ConnectionState::ALL.iter().filter(|state| **state != ConnectionState::Connected) {
            assert_eq!(of(*state, KeyState::Enabled), KeyState::Unavailable);
            assert_eq!(of(*state, KeyState::Disabled), KeyState::Unavailable);
            assert_eq!(of(*state, KeyState::PendingDeletion), KeyState::PendingDeletion);
        }
        assert_eq!(of(ConnectionState::Connected, KeyState::Disabled), KeyState::Disabled);
    }

    #[test]
    fn ids_have_awss_form() {
        let id = KeyStoreId::random();
        let digits = id.as_str().strip_prefix("cks-").expect("the prefix");
        assert!(digits.len() == 17 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    }
}
