//! What this HSM can do, found out by doing it: mechanism lists lie (SoftHSM2 lists OAEP and takes only SHA-1).
//!
//! A [`Profile`] is data. Everything in the engine that differs between HSMs is decided here, once, and read from it.

use std::borrow::Cow;
use std::fmt;

use cryptoki::session::Session;
use serde::{Deserialize, Serialize};

use crate::key::algorithm::SigningAlgorithm;
use crate::key::material::{Keeping, Material, WrapMechanism};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};

use super::crypto::Line;
use super::refusal::Sessions;
use super::round_trips::{
    self, AES_KEY, BOUND_AES, BOUND_RSA, BOUND_UNWRAPPED_AES, BOUND_UNWRAPPED_RSA, BOUND_WRAPPING, GCM, KWP_AES,
    KWP_RSA, OAEP_SHA1, OAEP_SHA256, PAD_AES, PAD_RSA, RANDOM, RAW_RSA, RSA_KEYS,
};
use super::slots::{self, Token};
use super::templates::{Allowed, Binding, FOR_AES, FOR_RAW_RSA, FOR_RSA, FOR_WRAPPING};
use super::token;
use super::trials::{self, BOUND_OTHERS, ED25519_PH};
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

/// What was found out about an HSM, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What the token says about itself.
    pub token: TokenFacts,
    /// Each feature that was tried.
    pub features: Vec<Feature>,
    /// How material is wrapped; `None` if this HSM can only keep token objects.
    pub wrap: Option<WrapMechanism>,
    /// How RSAES_OAEP_SHA_256 is done.
    pub oaep_sha256: OaepRoad,
    /// Who makes the IV of a GCM encryption.
    pub gcm_iv: IvMaker,
    /// Sessions that the token allows one application; `None` if it sets or tells no limit.
    pub max_sessions: Option<u64>,
    /// What our keys may be used with, as their templates say it to this HSM.
    #[serde(skip)]
    pub(super) allowed: Allowed,
}

/// What the token says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware version.
    pub firmware: String,
    /// Description and version of the PKCS#11 module.
    pub library: String,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// What was tried.
    pub name: Cow<'static, str>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
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

/// How RSAES_OAEP_SHA_256 is done on this HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OaepRoad {
    /// By the HSM.
    Native,
    /// The HSM does raw RSA, the host the padding: only where the HSM refuses and the operator has allowed it.
    RawWithHostUnpadding,
    /// Not at all.
    Refused,
}

/// Who makes the IV of a GCM encryption. HSMs in FIPS mode insist on making it; none that we have met so far does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IvMaker {
    /// We do, from the randomness of HSM and operating system.
    Host,
}

/// Tries what an HSM can do, whatever that is: one that the service cannot work with, too.
pub fn probe(settings: &Settings) -> Result<Profile, HsmError> {
    token::visit_token(settings, |line, module, token, turn| {
        drop(turn);
        Profile::of(line, &|| module.open_another(token.slot), token, settings.allow_raw_rsa, None)
    })
}

impl Profile {
    /// Itself, if the service can work with such an HSM: it seals what is its own in it, and sees by it that the HSM is well.
    pub(super) fn that_serves(self) -> Result<Self, HsmError> {
        let lacks = [RANDOM, AES_KEY, GCM].into_iter().find(|name| !self.works(name));
        let Some(name) = lacks else { return Ok(self) };
        let outcome = self.outcome(name).map_or_else(|| "not tried".to_owned(), Outcome::to_string);
        let text =
            format!("the service cannot work with this HSM, which lacks what it needs for itself: {name}, {outcome}");
        Err(HsmError::misconfigured("probe", text))
    }

    /// Whether a key of this spec can be made and used for this.
    pub fn supports(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        let all = |names: &[&str]| names.iter().all(|name| self.works(name));
        match (spec, usage) {
            (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt) => all(&[RANDOM, AES_KEY, GCM]),
            (KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096, KeyUsage::EncryptDecrypt) => {
                all(&[RANDOM, RSA_KEYS, OAEP_SHA1]) && self.oaep_sha256 != OaepRoad::Refused
            }
            _ => self.works(RANDOM) && self.works(&trials::name(spec, usage)),
        }
    }

    /// Whether such a key can leave it wrapped, and come back.
    pub fn wraps(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        match (self.wrap, spec.modulus_bits(), usage) {
            (None, ..) => false,
            (Some(mechanism), Some(_), _) => self.works(wraps_rsa(mechanism)),
            (Some(_), None, KeyUsage::EncryptDecrypt) => true,
            (Some(_), None, _) => self.works(&trials::wrapped(spec, usage)),
        }
    }

    /// Whether it signs so with the keys that it has.
    pub(in crate::hsm) fn signs(&self, algorithm: SigningAlgorithm) -> bool {
        algorithm.is_of_every_hsm() || self.works(ED25519_PH)
    }

    /// Whether it encrypts so with the keys that it has. What the operator allows may have changed since they were made.
    pub(in crate::hsm) fn encrypts(&self, algorithm: EncryptionAlgorithm) -> bool {
        algorithm != EncryptionAlgorithm::RsaesOaepSha256 || self.oaep_sha256 != OaepRoad::Refused
    }

    /// What came of one trial.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.features.iter().find(|feature| feature.name == name).map(|feature| &feature.outcome)
    }

    /// A profile that was sent as JSON; what follows from the trials is not sent.
    pub(in crate::hsm) fn from_json(text: &str) -> serde_json::Result<Self> {
        let sent: Self = serde_json::from_str(text)?;
        Ok(Self { allowed: sent.choose_allowed(), ..sent })
    }

    fn works(&self, name: &str) -> bool {
        self.outcome(name) == Some(&Outcome::Ok)
    }

    /// What this HSM can do: as it is known, or as it is found out now. `line` must be logged in; `open` opens a session beside
    /// it.
    pub(super) fn of<'a>(
        line: Line<'a>,
        open: &'a dyn Fn() -> Result<Session, HsmError>,
        token: &Token,
        allow_raw_rsa: bool,
        known: Option<Self>,
    ) -> Result<Self, HsmError> {
        let facts = TokenFacts::of(token, slots::library(line.calls));
        match known.filter(|known| known.token == facts) {
            Some(known) => Ok(Self { max_sessions: token.max_sessions, allowed: known.choose_allowed(), ..known }),
            None => Self::probe(&mut Sessions::new(line, open)?, facts, token.max_sessions, allow_raw_rsa),
        }
    }

    /// Whether it unwraps this material, if that is wrapped.
    pub(in crate::hsm) fn reads(&self, material: &Material) -> bool {
        let Keeping::Wrapped { mechanism, .. } = &material.keeping else { return true };
        match (mechanism, material.spec.modulus_bits(), material.usage) {
            (mechanism, Some(_), _) => self.works(wraps_rsa(*mechanism)),
            (WrapMechanism::AesKeyWrapKwp, _, KeyUsage::EncryptDecrypt) => self.works(KWP_AES),
            (WrapMechanism::AesKeyWrapPad, _, KeyUsage::EncryptDecrypt) => self.works(PAD_AES),
            // Tried with the mechanism that it wraps with itself.
            (mechanism, ..) => self.wrap == Some(*mechanism) && self.wraps(material.spec, material.usage),
        }
    }

    /// Tries everything.
    fn probe(
        sessions: &mut Sessions<'_>,
        token: TokenFacts,
        max_sessions: Option<u64>,
        allow_raw_rsa: bool,
    ) -> Result<Self, HsmError> {
        let mut profile = Self {
            token,
            features: round_trips::run(sessions)?,
            wrap: None,
            oaep_sha256: OaepRoad::Refused,
            gcm_iv: IvMaker::Host,
            max_sessions,
            allowed: Allowed::default(),
        };
        profile.wrap = profile.choose_wrap();
        profile.features.extend(trials::run(sessions, profile.wrap)?);
        profile.oaep_sha256 = profile.choose_oaep(allow_raw_rsa);
        profile.allowed = profile.choose_allowed();
        Ok(profile)
    }

    /// KWP where there is a choice: it has one encoding, PAD has two. Rather one that takes private keys too.
    fn choose_wrap(&self) -> Option<WrapMechanism> {
        use WrapMechanism::{AesKeyWrapKwp, AesKeyWrapPad};
        let both = [(AesKeyWrapKwp, KWP_AES, KWP_RSA), (AesKeyWrapPad, PAD_AES, PAD_RSA)];
        let complete = both.iter().find(|(_, aes, rsa)| self.works(aes) && self.works(rsa));
        let chosen = complete.or_else(|| both.iter().find(|(_, aes, _)| self.works(aes)));
        chosen.map(|(mechanism, ..)| *mechanism)
    }

    fn choose_oaep(&self, allow_raw_rsa: bool) -> OaepRoad {
        match (self.works(OAEP_SHA256), allow_raw_rsa && self.works(RAW_RSA)) {
            (true, _) => OaepRoad::Native,
            (false, true) => OaepRoad::RawWithHostUnpadding,
            (false, false) => OaepRoad::Refused,
        }
    }

    /// A kind of key is bound to its mechanisms where the HSM honours that of every object of the kind.
    fn choose_allowed(&self) -> Allowed {
        let is_bound = |made: &str, unwrapped: &str, wraps: [&str; 2]| {
            self.works(made) && (self.works(unwrapped) || !wraps.iter().any(|name| self.works(name)))
        };
        let for_rsa = match self.oaep_sha256 {
            OaepRoad::RawWithHostUnpadding => FOR_RAW_RSA,
            OaepRoad::Native | OaepRoad::Refused => FOR_RSA,
        };
        let list = |is_bound: bool, list| if is_bound { list } else { &[][..] };
        Allowed {
            aes: list(is_bound(BOUND_AES, BOUND_UNWRAPPED_AES, [KWP_AES, PAD_AES]), FOR_AES),
            rsa: list(is_bound(BOUND_RSA, BOUND_UNWRAPPED_RSA, [KWP_RSA, PAD_RSA]), for_rsa),
            wrapping: list(self.works(BOUND_WRAPPING), FOR_WRAPPING),
            others: if self.works(BOUND_OTHERS) { Binding::Bound } else { Binding::Free },
        }
    }
}

impl TokenFacts {
    fn of(token: &Token, library: String) -> Self {
        let Token { label, serial, manufacturer, model, firmware, .. } = token.clone();
        Self { label, serial, manufacturer, model, firmware, library }
    }
}

/// A table that a person can read at a rack.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenFacts { label, serial, manufacturer, model, firmware, library } = &self.token;
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<46} {value}");
        row("token", &format_args!("{label} (serial {serial})"))?;
        row("made by", &format_args!("{manufacturer}, {model}, firmware {firmware}"))?;
        row("module", library)?;
        match self.max_sessions {
            Some(max) => row("sessions", &format_args!("at most {max}"))?,
            None => row("sessions", &"no limit told")?,
        }
        for feature in &self.features {
            row(&feature.name, &feature.outcome)?;
        }
        row("=> material is wrapped with", &self.wrap.map_or("nothing: token objects only", wrap_name))?;
        row("=> RSAES_OAEP_SHA_256 is done", &self.oaep_sha256)?;
        row("=> keys are bound to mechanisms", &self.allowed)?;
        row("=> the IV of AES-GCM is made by", &"this host, from the randomness of both")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Refused { code } => write!(f, "refused: {code}"),
            Self::Wrong => f.write_str("WRONG: the HSM said ok and the bytes are not right"),
            Self::Ignored => f.write_str("ignored: accepted and not enforced"),
        }
    }
}

impl fmt::Display for OaepRoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "by the HSM",
            Self::RawWithHostUnpadding => "by raw RSA in the HSM and un-padding on this host",
            Self::Refused => "not at all: no RSA key can be made for encryption",
        })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("AES", !self.aes.is_empty()),
            ("RSA", !self.rsa.is_empty()),
            ("wrapping", !self.wrapping.is_empty()),
            ("all others", self.others == Binding::Bound),
        ];
        let bound: Vec<_> = kinds.iter().filter(|(_, is_bound)| *is_bound).map(|(kind, _)| *kind).collect();
        match bound.is_empty() {
            true => f.write_str("no: the HSM does not honour CKA_ALLOWED_MECHANISMS"),
            false => f.write_str(&bound.join(", ")),
        }
    }
}

fn wraps_rsa(mechanism: WrapMechanism) -> &'static str {
    match mechanism {
        WrapMechanism::AesKeyWrapKwp => KWP_RSA,
        WrapMechanism::AesKeyWrapPad => PAD_RSA,
    }
}

fn wrap_name(mechanism: WrapMechanism) -> &'static str {
    match mechanism {
        WrapMechanism::AesKeyWrapKwp => "AES_KEY_WRAP_KWP",
        WrapMechanism::AesKeyWrapPad => "AES_KEY_WRAP_PAD",
    }
}
