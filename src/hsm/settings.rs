//! Which HSM, and how it is used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pin::{HeldPin, PinSource};
use super::token_selector::TokenSelector;

/// One HSM of a key store, and how it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Its name in logs, in metrics and for `hsm join`.
    pub name: String,
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The pReserved argument of its C_Initialize, for modules that are configured so.
    pub init_reserved: Option<String>,
    /// The token in it.
    pub token: TokenSelector,
    /// Where the user PIN comes from.
    pub pin: PinSource,
    /// The holder of the PIN, if it does not come from `pin`.
    #[serde(skip)]
    pub held_pin: Option<HeldPin>,
    /// The file that all who log in to HSMs of this deployment lock while they do, and in which refused PINs are
    /// remembered (see `ledger`).
    pub ledger: PathBuf,
    /// Environment variables of the worker process beside our own: many modules find their configuration by one.
    pub environment: BTreeMap<String, String>,
    /// How often an HSM that nobody calls is asked a known answer; 0 is never. For those that end idle sessions.
    pub keepalive_ms: u64,
    /// Memory by which a worker process may grow before another takes its place, in bytes: modules leak (SoftHSM2 250 bytes for
    /// each key that is unwrapped).
    pub growth_bytes: u64,
    /// Worker threads, each with a session of its own; fewer are started if the token allows fewer.
    pub sessions: usize,
    /// Commands that may wait for a worker; one more is answered `Busy`.
    pub queue: usize,
    /// Handles that are kept for the next use.
    pub cached_handles: usize,
    /// True if it must hold the wrapping key. One that keeps every key as an object of its own need not.
    pub holds_wrapping_key: bool,
    /// CKA_LABEL of the wrapping key.
    pub wrapping_key_label: String,
    /// True if RSAES_OAEP_SHA_256 may be un-padded on this host if the HSM does not do it.
    pub allow_raw_rsa: bool,
}
