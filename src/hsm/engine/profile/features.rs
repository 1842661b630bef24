//! The features of an HSM that are tried, by name, and the outcome of each trial.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::material::WrapMechanism;
use crate::key::spec::{KeySpec, KeyUsage};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// The name of the trial.
    pub name: Cow<'static, str>,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: TrialOutcome,
}

/// The outcome of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum TrialOutcome {
    /// It works: a round trip gave the right bytes.
    Ok,
    /// The HSM refused, with this code; or it could not be tried because an earlier trial failed.
    Refused {
        /// The name of the code.
        code: String,
    },
    /// The HSM said CKR_OK and the bytes are wrong.
    Wrong,
    /// The HSM takes the attribute and does not act on it.
    Ignored,
}

impl fmt::Display for TrialOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Refused { code } => write!(f, "refused: {code}"),
            Self::Wrong => f.write_str("WRONG: the HSM said ok and the bytes are not right"),
            Self::Ignored => f.write_str("ignored: accepted and not enforced"),
        }
    }
}

pub(in crate::hsm) const RANDOM: &str = "random bytes";
pub(in crate::hsm) const AES_KEY: &str = "AES-256 key generation";
pub(in crate::hsm) const GCM: &str = "AES-256-GCM with AAD";
pub(in crate::hsm) const BAD_TAG: &str = "AES-256-GCM, bad tag";
pub(in crate::hsm) const STORED_GCM: &str = "AES-256-GCM with a token object";
pub(in crate::hsm) const KWP_AES: &str = "AES_KEY_WRAP_KWP of AES-256";
pub(in crate::hsm) const PAD_AES: &str = "AES_KEY_WRAP_PAD of AES-256";
pub(in crate::hsm) const RSA_KEYS: &str = "RSA-2048 key generation";
pub(in crate::hsm) const KWP_RSA: &str = "AES_KEY_WRAP_KWP of RSA-2048";
pub(in crate::hsm) const PAD_RSA: &str = "AES_KEY_WRAP_PAD of RSA-2048";
pub(in crate::hsm) const OAEP_SHA1: &str = "RSAES_OAEP_SHA_1";
pub(in crate::hsm) const OAEP_SHA256: &str = "RSAES_OAEP_SHA_256";
pub(in crate::hsm) const RAW_RSA: &str = "raw RSA, all bytes";
/// CKA_EXTRACTABLE and CKA_SIGN, that they are not.
pub(in crate::hsm) const STAYS: &str = "AES that may not leave does not";
pub(in crate::hsm) const ONLY_DECRYPTS: &str = "RSA that decrypts does not sign";
/// CKA_ALLOWED_MECHANISMS, of the objects in whose templates we may write it.
pub(in crate::hsm) const BOUND_AES: &str = "AES bound to mechanisms";
pub(in crate::hsm) const BOUND_UNWRAPPED_AES: &str = "AES bound to mechanisms, unwrapped";
pub(in crate::hsm) const BOUND_RSA: &str = "RSA bound to mechanisms";
pub(in crate::hsm) const BOUND_UNWRAPPED_RSA: &str = "RSA bound to mechanisms, unwrapped";
pub(in crate::hsm) const BOUND_WRAPPING: &str = "wrapping key bound to mechanisms";

/// Keys that do anything but encrypt honour CKA_ALLOWED_MECHANISMS, all of those that this HSM has.
pub(in crate::hsm) const BOUND_OTHERS: &str = "all other keys bound to mechanisms";

/// Ed25519ph: modules that do not know the flag sign by Ed25519 instead and say that all is well.
pub(in crate::hsm) const ED25519_PH: &str = "ED25519_PH_SHA_512";

/// The name of the trial of a key spec and usage.
pub(in crate::hsm) fn of_spec(spec: KeySpec, usage: KeyUsage) -> String {
    match spec.modulus_bits() {
        Some(_) => format!("{} {usage}", KeySpec::Rsa2048),
        None => format!("{spec} {usage}"),
    }
}

/// The name of the trial in which such a key leaves the HSM and comes back.
pub(in crate::hsm) fn of_spec_wrapped(spec: KeySpec, usage: KeyUsage) -> String {
    format!("{}, wrapped", of_spec(spec, usage))
}

/// The name of the trial of wrapping an RSA key by this mechanism.
pub(in crate::hsm) fn of_wrapped_rsa(mechanism: WrapMechanism) -> &'static str {
    match mechanism {
        WrapMechanism::AesKeyWrapKwp => KWP_RSA,
        WrapMechanism::AesKeyWrapPad => PAD_RSA,
    }
}
