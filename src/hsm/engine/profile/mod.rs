//! The profile of an HSM: its abilities as plain data. The prober builds it; everything in the engine that differs between HSMs is read from it.

pub(in crate::hsm) mod as_json;
pub(in crate::hsm) mod bindings;
pub(in crate::hsm) mod features;
mod table;

use serde::{Deserialize, Serialize};

use crate::hsm::error::HsmError;
use crate::key::algorithm::SigningAlgorithm;
use crate::key::material::{Keeping, Material, WrapMechanism};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};

use bindings::{AllowedMechanisms, Binding, FOR_AES, FOR_RAW_RSA, FOR_RSA, FOR_WRAPPING};
use features::{
    AES_KEY, BOUND_AES, BOUND_OTHERS, BOUND_RSA, BOUND_UNWRAPPED_AES, BOUND_UNWRAPPED_RSA, BOUND_WRAPPING, ED25519_PH,
    Feature, GCM, KWP_AES, KWP_RSA, OAEP_SHA1, OAEP_SHA256, PAD_AES, PAD_RSA, RANDOM, RAW_RSA, RSA_KEYS, TrialOutcome,
    of_wrapped_rsa,
};

/// The facts that were found out about an HSM, and the choices that follow from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The token's description of itself.
    pub token: TokenFacts,
    /// Each feature that was tried.
    pub features: Vec<Feature>,
    /// How material is wrapped; `None` if this HSM can only keep token objects.
    pub wrap: Option<WrapMechanism>,
    /// How RSAES_OAEP_SHA_256 is done.
    pub oaep_sha256: OaepMethod,
    /// The maker of the IV of a GCM encryption.
    pub gcm_iv: IvMaker,
    /// Sessions that the token allows one application; `None` if it sets or tells no limit.
    pub max_sessions: Option<u64>,
    /// The mechanisms that our keys are bound to on this HSM.
    #[serde(skip)]
    pub(in crate::hsm) allowed: AllowedMechanisms,
}

/// The token's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// The manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware version.
    pub firmware: String,
    /// Description and version of the PKCS#11 module.
    pub library: String,
}

/// How RSAES_OAEP_SHA_256 is done on this HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OaepMethod {
    /// By the HSM.
    Native,
    /// The HSM does raw RSA, the host the padding: only where the HSM refuses and the operator has allowed it.
    RawWithHostUnpadding,
    /// Not at all.
    Refused,
}

/// The maker of the IV of a GCM encryption. HSMs in FIPS mode insist on making it; none that we have met so far does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IvMaker {
    /// We do, from the randomness of HSM and operating system.
    Host,
}

impl Profile {
    /// Itself, if the service can work with such an HSM: it seals what is its own in it, and sees by it that the HSM is well.
    pub(in crate::hsm) fn that_serves(self) -> Result<Self, HsmError> {
        let lacks = [RANDOM, AES_KEY, GCM].into_iter().find(|name| !self.works(name));
        let Some(name) = lacks else { return Ok(self) };
        let outcome = self.outcome(name).map_or_else(|| "not tried".to_owned(), TrialOutcome::to_string);
        let text =
            format!("the service cannot work with this HSM, which lacks what it needs for itself: {name}, {outcome}");
        Err(HsmError::misconfigured("probe", text))
    }

    /// True if a key of this spec can be made and used for this.
    pub fn supports(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        let all = |names: &[&str]| names.iter().all(|name| self.works(name));
        match (spec, usage) {
            (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt) => all(&[RANDOM, AES_KEY, GCM]),
            (KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096, KeyUsage::EncryptDecrypt) => {
                all(&[RANDOM, RSA_KEYS, OAEP_SHA1]) && self.oaep_sha256 != OaepMethod::Refused
            }
            _ => self.works(RANDOM) && self.works(&features::of_spec(spec, usage)),
        }
    }

    /// True if such a key can leave it wrapped, and come back.
    pub fn wraps(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        match (self.wrap, spec.modulus_bits(), usage) {
            (None, ..) => false,
            (Some(mechanism), Some(_), _) => self.works(of_wrapped_rsa(mechanism)),
            (Some(_), None, KeyUsage::EncryptDecrypt) => true,
            (Some(_), None, _) => self.works(&features::of_spec_wrapped(spec, usage)),
        }
    }

    /// True if it signs so with the keys that it has.
    pub(in crate::hsm) fn signs(&self, algorithm: SigningAlgorithm) -> bool {
        algorithm.is_of_every_hsm() || self.works(ED25519_PH)
    }

    /// True if it encrypts so with the keys that it has. What the operator allows may have changed since they were made.
    pub(in crate::hsm) fn encrypts(&self, algorithm: EncryptionAlgorithm) -> bool {
        algorithm != EncryptionAlgorithm::RsaesOaepSha256 || self.oaep_sha256 != OaepMethod::Refused
    }

    /// The outcome of one trial.
    pub fn outcome(&self, name: &str) -> Option<&TrialOutcome> {
        self.features.iter().find(|feature| feature.name == name).map(|feature| &feature.outcome)
    }

    /// A profile that was sent as JSON; what follows from the trials is not sent.
    pub(in crate::hsm) fn from_json(text: &str) -> serde_json::Result<Self> {
        let sent: Self = serde_json::from_str(text)?;
        Ok(Self { allowed: sent.choose_allowed(), ..sent })
    }

    fn works(&self, name: &str) -> bool {
        self.outcome(name) == Some(&TrialOutcome::Ok)
    }

    /// True if it unwraps this material, if that is wrapped.
    pub(in crate::hsm) fn reads(&self, material: &Material) -> bool {
        let Keeping::Wrapped { mechanism, .. } = &material.keeping else { return true };
        match (mechanism, material.spec.modulus_bits(), material.usage) {
            (mechanism, Some(_), _) => self.works(of_wrapped_rsa(*mechanism)),
            (WrapMechanism::AesKeyWrapKwp, _, KeyUsage::EncryptDecrypt) => self.works(KWP_AES),
            (WrapMechanism::AesKeyWrapPad, _, KeyUsage::EncryptDecrypt) => self.works(PAD_AES),
            // Tried with the mechanism that it wraps with itself.
            (mechanism, ..) => self.wrap == Some(*mechanism) && self.wraps(material.spec, material.usage),
        }
    }

    /// KWP where there is a choice: it has one encoding, PAD has two. Rather one that takes private keys too.
    pub(in crate::hsm) fn choose_wrap(&self) -> Option<WrapMechanism> {
        use WrapMechanism::{AesKeyWrapKwp, AesKeyWrapPad};
        let both = [(AesKeyWrapKwp, KWP_AES, KWP_RSA), (AesKeyWrapPad, PAD_AES, PAD_RSA)];
        let complete = both.iter().find(|(_, aes, rsa)| self.works(aes) && self.works(rsa));
        let chosen = complete.or_else(|| both.iter().find(|(_, aes, _)| self.works(aes)));
        chosen.map(|(mechanism, ..)| *mechanism)
    }

    pub(in crate::hsm) fn choose_oaep(&self, allow_raw_rsa: bool) -> OaepMethod {
        match (self.works(OAEP_SHA256), allow_raw_rsa && self.works(RAW_RSA)) {
            (true, _) => OaepMethod::Native,
            (false, true) => OaepMethod::RawWithHostUnpadding,
            (false, false) => OaepMethod::Refused,
        }
    }

    /// A kind of key is bound to its mechanisms where the HSM honours that of every object of the kind.
    pub(in crate::hsm) fn choose_allowed(&self) -> AllowedMechanisms {
        let is_bound = |made: &str, unwrapped: &str, wraps: [&str; 2]| {
            self.works(made) && (self.works(unwrapped) || !wraps.iter().any(|name| self.works(name)))
        };
        let for_rsa = match self.oaep_sha256 {
            OaepMethod::RawWithHostUnpadding => FOR_RAW_RSA,
            OaepMethod::Native | OaepMethod::Refused => FOR_RSA,
        };
        let list = |is_bound: bool, list| if is_bound { list } else { &[][..] };
        AllowedMechanisms {
            aes: list(is_bound(BOUND_AES, BOUND_UNWRAPPED_AES, [KWP_AES, PAD_AES]), FOR_AES),
            rsa: list(is_bound(BOUND_RSA, BOUND_UNWRAPPED_RSA, [KWP_RSA, PAD_RSA]), for_rsa),
            wrapping: list(self.works(BOUND_WRAPPING), FOR_WRAPPING),
            others: if self.works(BOUND_OTHERS) { Binding::Bound } else { Binding::Free },
        }
    }
}
