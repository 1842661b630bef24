//! What this HSM can do, found out by doing it: mechanism lists lie (SoftHSM2 lists OAEP and takes only SHA-1).
//!
//! A [`Profile`] is data. Everything in the engine that differs between HSMs is decided here, once, and read from it.

use std::borrow::Cow;
use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki_sys::{CK_MECHANISM_TYPE, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_RSA_PKCS};
use serde::{Deserialize, Serialize};

use crate::key::algorithm::SigningAlgorithm;
use crate::key::material::{Keeping, Material, WrapMechanism};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use crate::secret::SecretBytes;

use super::crypto::{Line, Oaep};
use super::mechanism::OaepHash;
use super::oaep;
use super::objects::Passing;
use super::public_key::RsaPublicKey;
use super::slots::{self, Token};
use super::templates::{
    self, AES, Allowed, Binding, FOR_AES, FOR_RAW_RSA, FOR_RSA, FOR_WRAPPING, Life, PROBE_LABEL, RSA,
};
use super::token;
use super::trials::{self, BOUND_OTHERS, ED25519_PH};
use crate::hsm::error::{HsmError, Kind};
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

const RANDOM: &str = "random bytes";
const AES_KEY: &str = "AES-256 key generation";
const GCM: &str = "AES-256-GCM with AAD";
const BAD_TAG: &str = "AES-256-GCM, bad tag";
const STORED_GCM: &str = "AES-256-GCM with a token object";
const KWP_AES: &str = "AES_KEY_WRAP_KWP of AES-256";
const PAD_AES: &str = "AES_KEY_WRAP_PAD of AES-256";
const RSA_KEYS: &str = "RSA-2048 key generation";
const KWP_RSA: &str = "AES_KEY_WRAP_KWP of RSA-2048";
const PAD_RSA: &str = "AES_KEY_WRAP_PAD of RSA-2048";
const OAEP_SHA1: &str = "RSAES_OAEP_SHA_1";
const OAEP_SHA256: &str = "RSAES_OAEP_SHA_256";
const RAW_RSA: &str = "raw RSA, all bytes";
/// CKA_EXTRACTABLE and CKA_SIGN, that they are not.
const STAYS: &str = "AES that may not leave does not";
const ONLY_DECRYPTS: &str = "RSA that decrypts does not sign";
/// CKA_ALLOWED_MECHANISMS, of the objects in whose templates we may write it.
const BOUND_AES: &str = "AES bound to mechanisms";
const BOUND_UNWRAPPED_AES: &str = "AES bound to mechanisms, unwrapped";
const BOUND_RSA: &str = "RSA bound to mechanisms";
const BOUND_UNWRAPPED_RSA: &str = "RSA bound to mechanisms, unwrapped";
const BOUND_WRAPPING: &str = "wrapping key bound to mechanisms";

/// Tries what an HSM can do, whatever that is: one that the service cannot work with, too.
pub fn probe(settings: &Settings) -> Result<Profile, HsmError> {
    token::visit_token(settings, |line, token, turn| {
        drop(turn);
        Profile::of(line, token, settings.allow_raw_rsa, None)
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

    /// What this HSM can do: as it is known, or as it is found out now. `line` must be logged in.
    pub(super) fn of(
        line: Line<'_>,
        token: &Token,
        allow_raw_rsa: bool,
        known: Option<Self>,
    ) -> Result<Self, HsmError> {
        let facts = TokenFacts::of(token, slots::library(line.calls));
        match known.filter(|known| known.token == facts) {
            Some(known) => Ok(Self { max_sessions: token.max_sessions, allowed: known.choose_allowed(), ..known }),
            None => Self::probe(line, facts, token.max_sessions, allow_raw_rsa),
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

    /// Tries everything. `line` must be logged in.
    fn probe(
        line: Line<'_>,
        token: TokenFacts,
        max_sessions: Option<u64>,
        allow_raw_rsa: bool,
    ) -> Result<Self, HsmError> {
        clear_leftovers(line);
        let mut trials = Trials { line, features: Vec::new() };
        trials.run();
        let mut profile = Self {
            token,
            features: trials.features,
            wrap: None,
            oaep_sha256: OaepRoad::Refused,
            gcm_iv: IvMaker::Host,
            max_sessions,
            allowed: Allowed::default(),
        };
        profile.wrap = profile.choose_wrap();
        profile.features.extend(trials::run(line, profile.wrap)?);
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

/// The trials, each a round trip with session objects that are gone afterwards.
struct Trials<'a> {
    line: Line<'a>,
    features: Vec<Feature>,
}

/// What a trial came to: the right bytes, the wrong ones, or a refusal.
type Trial = Result<bool, HsmError>;

impl Trials<'_> {
    fn note(&mut self, name: &'static str, trial: Trial) {
        self.note_outcome(name, trial.map(|right| if right { Outcome::Ok } else { Outcome::Wrong }));
    }

    fn note_outcome(&mut self, name: &'static str, outcome: Result<Outcome, HsmError>) {
        let outcome = outcome.unwrap_or_else(|error| Outcome::Refused { code: error.code.into_owned() });
        self.features.push(Feature { name: name.into(), outcome });
    }

    fn run(&mut self) {
        let line = self.line;
        self.note(RANDOM, random(line));
        let aes = aes(line, Life::Passing, &[]);
        self.note(AES_KEY, tried(&aes).map(|_| true));
        self.note(GCM, tried(&aes).and_then(|key| gcm(line, key.handle)));
        let bad_tag = tried(&aes).and_then(|key| gcm_bad_tag(line, key.handle));
        self.note(BAD_TAG, bad_tag);
        self.note(STORED_GCM, stored_gcm(line));

        let wrapping = wrapping_key(line, &[]);
        for (name, mechanism) in [(KWP_AES, WrapMechanism::AesKeyWrapKwp), (PAD_AES, WrapMechanism::AesKeyWrapPad)] {
            let trial = tried(&wrapping).and_then(|w| wrap_aes(line, mechanism, w.handle, tried(&aes)?.handle));
            self.note(name, trial);
        }
        self.note_outcome(STAYS, tried(&wrapping).and_then(|w| stays(line, w.handle, tried(&aes)?.handle)));
        self.note_outcome(BOUND_AES, bound_aes(line));
        let bound = tried(&wrapping).and_then(|w| bound_unwrapped_aes(line, w.handle, tried(&aes)?.handle));
        self.note_outcome(BOUND_UNWRAPPED_AES, bound);
        self.note_outcome(BOUND_WRAPPING, bound_wrapping_key(line));
        self.rsa(&wrapping);
    }

    fn rsa(&mut self, wrapping: &Result<Passing<'_>, HsmError>) {
        let line = self.line;
        // Bound to all that the trials do with it, or not at all if that does not work.
        let bound = Pair::generate(line, FOR_RAW_RSA).and_then(|pair| pair.works(line));
        let (bound, pair) = match bound {
            Ok(pair) => (bound_rsa(line), Ok(pair)),
            Err(error) => (Err(error), Pair::generate(line, &[])),
        };
        self.note(RSA_KEYS, tried(&pair).map(|_| true));
        for (name, mechanism) in [(KWP_RSA, WrapMechanism::AesKeyWrapKwp), (PAD_RSA, WrapMechanism::AesKeyWrapPad)] {
            let trial = tried(wrapping).and_then(|w| tried(&pair)?.wrap(line, mechanism, w.handle));
            self.note(name, trial);
        }
        self.note(OAEP_SHA1, tried(&pair).and_then(|pair| pair.oaep(line, OaepHash::Sha1)));
        self.note(RAW_RSA, tried(&pair).and_then(|pair| pair.raw(line)));
        self.note(OAEP_SHA256, tried(&pair).and_then(|pair| pair.oaep_sha256(line)));
        let signs = tried(wrapping).and_then(|w| tried(&pair)?.sign_unwrapped(line, w.handle));
        self.note_outcome(ONLY_DECRYPTS, signs.map(refuses));
        self.note_outcome(BOUND_RSA, bound);
        let bound = tried(wrapping).and_then(|w| tried(&pair)?.bound_unwrapped(line, w.handle));
        self.note_outcome(BOUND_UNWRAPPED_RSA, bound);
    }
}

/// Destroys what a probe that was killed has left on the token. What cannot be cleared costs nothing but its place.
fn clear_leftovers(line: Line<'_>) {
    match line.destroy_left_by_a_probe() {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "keys of a probe that did not end were destroyed"),
        Err(error) => tracing::warn!(%error, "keys of a probe that did not end could not be looked for or destroyed"),
    }
}

/// What an earlier trial made, or its error as the error of this one.
fn tried<T>(earlier: &Result<T, HsmError>) -> Result<&T, HsmError> {
    earlier.as_ref().map_err(Clone::clone)
}

fn same(plaintext: &[u8], opened: &SecretBytes) -> bool {
    Line::is_same(plaintext, opened).is_ok()
}

fn random(line: Line<'_>) -> Trial {
    let (one, other) = (line.random(32)?, line.random(32)?);
    Ok(one.len() == 32 && !same(one.expose(), &other))
}

fn gcm(line: Line<'_>, key: ObjectHandle) -> Trial {
    let sealed = line.seal(key, b"aad", b"plaintext")?;
    Ok(same(b"plaintext", &line.open(key, sealed.iv, b"aad", &sealed.ciphertext)?))
}

/// The refusal itself is what is wanted; that its code is noted is for whoever reads the profile.
fn gcm_bad_tag(line: Line<'_>, key: ObjectHandle) -> Trial {
    let sealed = line.seal(key, b"aad", b"plaintext")?;
    line.open(key, sealed.iv, b"other", &sealed.ciphertext).map(|_| false)
}

/// Whether a key is not wrapped that differs from one that is in nothing but CKA_EXTRACTABLE.
fn stays(line: Line<'_>, wrapping: ObjectHandle, free: ObjectHandle) -> Result<Outcome, HsmError> {
    wrap_somehow(line, wrapping, free)?;
    let kept = aes(line, Life::Leased, &[])?;
    Ok(refuses(wrap_somehow(line, wrapping, kept.handle).map(|_| true)))
}

fn stored_gcm(line: Line<'_>) -> Trial {
    let cka_id: [u8; 16] = line.unique()?;
    let life = Life::Token { cka_id: &cka_id, label: PROBE_LABEL };
    gcm(line, aes(line, life, &[])?.handle)
}

fn aes<'a>(line: Line<'a>, life: Life<'_>, allowed: List) -> Result<Passing<'a>, HsmError> {
    let made = line.generate_key(AES, life, Allowed { aes: allowed, ..Allowed::default() })?;
    Ok(Passing::new(line.session, made.secret))
}

fn wrapping_key<'a>(line: Line<'a>, allowed: List) -> Result<Passing<'a>, HsmError> {
    let template = templates::wrapping_key(Life::Leased, Allowed { wrapping: allowed, ..Allowed::default() });
    Ok(Passing::new(line.session, line.session.generate_key(&Mechanism::AesKeyGen, &template)?))
}

/// Mechanisms for a template.
type List = &'static [CK_MECHANISM_TYPE];

/// Whether a key that is bound to the `right` mechanisms works, and one that is bound to the `wrong` ones does not. Nothing
/// but the list differs between the two, so a refusal is the list's doing.
fn honours<K>(
    [right, wrong]: [List; 2],
    make: impl Fn(List) -> Result<K, HsmError>,
    work: impl Fn(&K) -> Trial,
) -> Result<Outcome, HsmError> {
    if !work(&make(right)?)? {
        return Ok(Outcome::Wrong);
    }
    Ok(refuses(work(&make(wrong)?)))
}

fn refuses(trial: Trial) -> Outcome {
    match trial {
        Ok(_) => Outcome::Ignored,
        Err(_) => Outcome::Ok,
    }
}

fn bound_aes(line: Line<'_>) -> Result<Outcome, HsmError> {
    honours([FOR_AES, &[CKM_AES_CBC]], |list| aes(line, Life::Leased, list), |key| gcm(line, key.handle))
}

fn bound_unwrapped_aes(line: Line<'_>, wrapping: ObjectHandle, key: ObjectHandle) -> Result<Outcome, HsmError> {
    let (mechanism, blob) = wrap_somehow(line, wrapping, key)?;
    let unwrap = |list| {
        let template = templates::to_unwrap(AES, Allowed { aes: list, ..Allowed::default() });
        Ok(Passing::new(line.session, line.unwrap(mechanism, wrapping, &blob, &template)?))
    };
    honours([FOR_AES, &[CKM_AES_CBC]], unwrap, |key| gcm(line, key.handle))
}

fn bound_wrapping_key(line: Line<'_>) -> Result<Outcome, HsmError> {
    let key = aes(line, Life::Passing, &[])?;
    let wrap = |wrapping: &Passing<'_>| {
        let (mechanism, blob) = wrap_somehow(line, wrapping.handle, key.handle)?;
        let template = templates::to_unwrap(AES, Allowed::default());
        line.unwrap(mechanism, wrapping.handle, &blob, &template).map(|back| Passing::new(line.session, back))?;
        Ok(true)
    };
    honours([FOR_WRAPPING, &[CKM_AES_CBC_PAD]], |list| wrapping_key(line, list), wrap)
}

/// The mechanisms to which a wrapping key of this HSM is to be bound.
pub(super) fn for_wrapping_keys(line: Line<'_>) -> List {
    match bound_wrapping_key(line) {
        Ok(Outcome::Ok) => FOR_WRAPPING,
        _ => &[],
    }
}

/// What a key is wrapped with where both are there: KWP, as in [`Profile`].
pub(super) fn wrap_somehow(
    line: Line<'_>,
    wrapping: ObjectHandle,
    key: ObjectHandle,
) -> Result<(WrapMechanism, Vec<u8>), HsmError> {
    let wrap = |mechanism| line.wrap(mechanism, wrapping, key).map(|blob| (mechanism, blob));
    wrap(WrapMechanism::AesKeyWrapKwp).or_else(|_| wrap(WrapMechanism::AesKeyWrapPad))
}

fn bound_rsa(line: Line<'_>) -> Result<Outcome, HsmError> {
    Ok(refuses(Pair::generate(line, &[CKM_RSA_PKCS])?.oaep(line, OaepHash::Sha1)))
}

fn wrap_aes(line: Line<'_>, mechanism: WrapMechanism, wrapping: ObjectHandle, key: ObjectHandle) -> Trial {
    let blob = line.wrap(mechanism, wrapping, key)?;
    let template = templates::to_unwrap(AES, Allowed::default());
    let back = Passing::new(line.session, line.unwrap(mechanism, wrapping, &blob, &template)?);
    let sealed = line.seal(key, b"", b"plaintext")?;
    Ok(same(b"plaintext", &line.open(back.handle, sealed.iv, b"", &sealed.ciphertext)?))
}

/// An RSA key pair of the probe.
struct Pair<'a> {
    secret: Passing<'a>,
    public: Passing<'a>,
    key: RsaPublicKey,
}

impl<'a> Pair<'a> {
    fn generate(line: Line<'a>, allowed: List) -> Result<Self, HsmError> {
        let allowed = Allowed { rsa: allowed, ..Allowed::default() };
        let (secret, public, key) = line.generate_key(RSA, Life::Passing, allowed)?.rsa()?;
        let passing = |handle| Passing::new(line.session, handle);
        Ok(Self { secret: passing(secret), public: passing(public), key })
    }

    fn oaep(&self, line: Line<'_>, hash: OaepHash) -> Trial {
        self.oaep_with(line, hash, self.secret.handle)
    }

    fn oaep_with(&self, line: Line<'_>, hash: OaepHash, secret: ObjectHandle) -> Trial {
        let oaep = Oaep { hash, sha256: OaepRoad::Native };
        let ciphertext = line.oaep_encrypt(oaep, self.public.handle, &self.key, b"plaintext")?;
        Ok(same(b"plaintext", &line.oaep_decrypt(oaep, secret, &self.key, &ciphertext)?))
    }

    /// Itself, if it does what every RSA key must do.
    fn works(self, line: Line<'_>) -> Result<Self, HsmError> {
        self.oaep(line, OaepHash::Sha1).map(|_| self)
    }

    /// What comes of a signature, if the key is used as it is in use: unwrapped.
    fn sign_unwrapped(&self, line: Line<'_>, wrapping: ObjectHandle) -> Result<Trial, HsmError> {
        let (mechanism, blob) = wrap_somehow(line, wrapping, self.secret.handle)?;
        let back = line.unwrap(mechanism, wrapping, &blob, &templates::to_unwrap(RSA, Allowed::default()))?;
        let back = Passing::new(line.session, back);
        Ok(line.session.sign(&Mechanism::RsaPkcs, back.handle, b"message").map(|_| true).map_err(HsmError::from))
    }

    fn bound_unwrapped(&self, line: Line<'_>, wrapping: ObjectHandle) -> Result<Outcome, HsmError> {
        let (mechanism, blob) = wrap_somehow(line, wrapping, self.secret.handle)?;
        let unwrap = |list| {
            let template = templates::to_unwrap(RSA, Allowed { rsa: list, ..Allowed::default() });
            Ok(Passing::new(line.session, line.unwrap(mechanism, wrapping, &blob, &template)?))
        };
        honours([FOR_RAW_RSA, &[CKM_RSA_PKCS]], unwrap, |key| self.oaep_with(line, OaepHash::Sha1, key.handle))
    }

    /// Both ways by the HSM, and once more against our own padding: an HSM that took another hash for MGF1 would agree with
    /// itself and with nobody else.
    fn oaep_sha256(&self, line: Line<'_>) -> Trial {
        if !self.oaep(line, OaepHash::Sha256)? {
            return Ok(false);
        }
        let Ok(ciphertext) = self.encrypt_with_our_padding(line) else {
            return Ok(true);
        };
        let oaep = Oaep { hash: OaepHash::Sha256, sha256: OaepRoad::Native };
        let opened = line.oaep_decrypt(oaep, self.secret.handle, &self.key, &ciphertext);
        Ok(opened.is_ok_and(|opened| same(b"plaintext", &opened)))
    }

    fn encrypt_with_our_padding(&self, line: Line<'_>) -> Result<Vec<u8>, HsmError> {
        let oaep = Oaep { hash: OaepHash::Sha256, sha256: OaepRoad::RawWithHostUnpadding };
        line.oaep_encrypt(oaep, self.public.handle, &self.key, b"plaintext")
    }

    /// All k bytes, the leading zero too: a module that strips it cannot be used for host un-padding.
    fn raw(&self, line: Line<'_>) -> Trial {
        let encoded = oaep::pad(self.key.k(), &line.unique()?, b"plaintext")
            .ok_or_else(|| HsmError::new(Kind::Bug, "probe", "the modulus is too short"))?;
        let public = self.public.handle;
        let ciphertext = line.calls.encrypt_once(line.session, &Mechanism::RsaX509, public, &encoded, self.key.k())?;
        Ok(same(&encoded, &line.raw_decrypt(self.secret.handle, &self.key, &ciphertext)?))
    }

    fn wrap(&self, line: Line<'_>, mechanism: WrapMechanism, wrapping: ObjectHandle) -> Trial {
        let blob = line.wrap(mechanism, wrapping, self.secret.handle)?;
        let back = line.unwrap(mechanism, wrapping, &blob, &templates::to_unwrap(RSA, Allowed::default()))?;
        let back = Passing::new(line.session, back);
        self.oaep_with(line, OaepHash::Sha1, back.handle)
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
