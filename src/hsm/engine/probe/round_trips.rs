//! Round trips with AES and RSA keys: what of a [`Profile`](crate::hsm::engine::profile::Profile) is found out by them. Trials of key specs
//! are in `key_specs`.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki_sys::{CK_MECHANISM_TYPE, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_RSA_PKCS};

use crate::hsm::error::{HsmError, Kind};
use crate::key::material::WrapMechanism;
use crate::secret::SecretBytes;

use super::refusal::{Failure, Sessions};
use crate::hsm::engine::calls::crypto::{Line, Oaep};
use crate::hsm::engine::calls::mechanism::OaepHash;
use crate::hsm::engine::calls::oaep;
use crate::hsm::engine::calls::objects::Passing;
use crate::hsm::engine::calls::public_key::RsaPublicKey;
use crate::hsm::engine::calls::templates::{self, Life, PROBE_LABEL};
use crate::hsm::engine::profile::OaepRoad;
use crate::hsm::engine::profile::bindings::{AES, Allowed, FOR_AES, FOR_RAW_RSA, FOR_WRAPPING, RSA};
use crate::hsm::engine::profile::features::{
    AES_KEY, BAD_TAG, BOUND_AES, BOUND_RSA, BOUND_UNWRAPPED_AES, BOUND_UNWRAPPED_RSA, BOUND_WRAPPING, Feature, GCM,
    KWP_AES, KWP_RSA, OAEP_SHA1, OAEP_SHA256, ONLY_DECRYPTS, Outcome, PAD_AES, PAD_RSA, RANDOM, RAW_RSA, RSA_KEYS,
    STAYS, STORED_GCM,
};

/// Tries all of them.
pub(in crate::hsm) fn run(sessions: &mut Sessions<'_>) -> Result<Vec<Feature>, HsmError> {
    clear_leftovers(sessions)?;
    let home = sessions.home;
    let mut trials = Trials { sessions, features: Vec::new() };
    trials.run(home)?;
    Ok(trials.features)
}

/// The trials, each a round trip with session objects that are gone afterwards.
struct Trials<'a, 'b> {
    sessions: &'a mut Sessions<'b>,
    features: Vec<Feature>,
}

/// What a trial came to: the right bytes, the wrong ones, or a refusal.
type Trial = Result<bool, HsmError>;

impl Trials<'_, '_> {
    fn note(&mut self, name: &'static str, trial: impl Fn(Line<'_>) -> Trial) -> Result<(), HsmError> {
        let outcome = |right| if right { Outcome::Ok } else { Outcome::Wrong };
        self.note_outcome(name, |line| Ok(outcome(trial(line)?)))
    }

    fn note_outcome(
        &mut self,
        name: &'static str,
        trial: impl Fn(Line<'_>) -> Result<Outcome, Failure>,
    ) -> Result<(), HsmError> {
        let outcome = self.sessions.settled(trial)?.unwrap_or_else(Outcome::of);
        self.features.push(Feature { name: name.into(), outcome });
        Ok(())
    }

    fn run(&mut self, home: Line<'_>) -> Result<(), HsmError> {
        self.note(RANDOM, random)?;
        let aes = home.settled(|| aes(home, Life::Passing, &[]))?;
        self.note(AES_KEY, |_| tried(&aes).map(|_| true))?;
        self.note(GCM, |line| gcm(line, tried(&aes)?.handle))?;
        self.note(BAD_TAG, |line| gcm_bad_tag(line, tried(&aes)?.handle))?;
        self.note(STORED_GCM, stored_gcm)?;

        let wrapping = home.settled(|| wrapping_key(home, &[]))?;
        for (name, mechanism) in [(KWP_AES, WrapMechanism::AesKeyWrapKwp), (PAD_AES, WrapMechanism::AesKeyWrapPad)] {
            self.note(name, |line| wrap_aes(line, mechanism, tried(&wrapping)?.handle, tried(&aes)?.handle))?;
        }
        self.note_outcome(STAYS, |line| stays(line, tried(&wrapping)?.handle, tried(&aes)?.handle))?;
        self.note_outcome(BOUND_AES, bound_aes)?;
        let bound = |line: Line<'_>| bound_unwrapped_aes(line, tried(&wrapping)?.handle, tried(&aes)?.handle);
        self.note_outcome(BOUND_UNWRAPPED_AES, bound)?;
        self.note_outcome(BOUND_WRAPPING, bound_wrapping_key)?;
        self.rsa(home, &wrapping)
    }

    fn rsa(&mut self, home: Line<'_>, wrapping: &Result<Passing<'_>, HsmError>) -> Result<(), HsmError> {
        // Bound to all that the trials do with it, or not at all if that does not work.
        let (refused, pair) = match self.pair_bound(home)? {
            Ok(pair) => (None, Ok(pair)),
            Err(error) => (Some(error), home.settled(|| Pair::generate(home, &[]))?),
        };
        self.note(RSA_KEYS, |_| tried(&pair).map(|_| true))?;
        for (name, mechanism) in [(KWP_RSA, WrapMechanism::AesKeyWrapKwp), (PAD_RSA, WrapMechanism::AesKeyWrapPad)] {
            self.note(name, |line| tried(&pair)?.wrap(line, mechanism, tried(wrapping)?.handle))?;
        }
        self.note(OAEP_SHA1, |line| tried(&pair)?.oaep(line, OaepHash::Sha1))?;
        self.note(RAW_RSA, |line| tried(&pair)?.raw(line))?;
        let has_raw = self.features.iter().any(|feature| feature.name == RAW_RSA && feature.outcome == Outcome::Ok);
        self.note(OAEP_SHA256, |line| tried(&pair)?.oaep_sha256(line, has_raw))?;
        self.note_outcome(ONLY_DECRYPTS, |line| tried(&pair)?.only_decrypts(line, tried(wrapping)?.handle))?;
        self.note_outcome(BOUND_RSA, |line| match &refused {
            Some(error) => Err(error.clone().into()),
            None => bound_rsa(line),
        })?;
        let bound = |line: Line<'_>| tried(&pair)?.bound_unwrapped(line, tried(wrapping)?.handle);
        self.note_outcome(BOUND_UNWRAPPED_RSA, bound)
    }

    /// A pair that is bound to all that the trials do with it, if it does what every RSA key must do.
    fn pair_bound<'a>(&mut self, home: Line<'a>) -> Result<Result<Pair<'a>, HsmError>, HsmError> {
        let pair = match home.settled(|| Pair::generate(home, FOR_RAW_RSA))? {
            Ok(pair) => pair,
            refused => return Ok(refused),
        };
        let works = self.sessions.settled(|line| pair.oaep(line, OaepHash::Sha1))?;
        Ok(works.map(|_| pair))
    }
}

impl Outcome {
    /// What is said of a trial that did not come to its end.
    fn of(failure: Failure) -> Self {
        match failure.is_wanted {
            true => Self::Ok,
            false => Self::Refused { code: failure.error.code.into_owned() },
        }
    }
}

/// Destroys what a probe that was killed has left on the token. What cannot be cleared costs nothing but its place.
fn clear_leftovers(sessions: &mut Sessions<'_>) -> Result<(), HsmError> {
    match sessions.settled(|line| line.destroy_left_by_a_probe())? {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "keys of a probe that did not end were destroyed"),
        Err(error) => tracing::warn!(%error, "keys of a probe that did not end could not be looked for or destroyed"),
    }
    Ok(())
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
fn stays(line: Line<'_>, wrapping: ObjectHandle, free: ObjectHandle) -> Result<Outcome, Failure> {
    wrap_somehow(line, wrapping, free)?;
    let kept = aes(line, Life::Leased, &[])?;
    refuses(wrap_somehow(line, wrapping, kept.handle))
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
) -> Result<Outcome, Failure> {
    if !work(&make(right)?)? {
        return Ok(Outcome::Wrong);
    }
    refuses(work(&make(wrong)?))
}

fn refuses<T>(attempt: Result<T, HsmError>) -> Result<Outcome, Failure> {
    attempt.map(|_| Outcome::Ignored).map_err(Failure::wanted)
}

fn bound_aes(line: Line<'_>) -> Result<Outcome, Failure> {
    honours([FOR_AES, &[CKM_AES_CBC]], |list| aes(line, Life::Leased, list), |key| gcm(line, key.handle))
}

fn bound_unwrapped_aes(line: Line<'_>, wrapping: ObjectHandle, key: ObjectHandle) -> Result<Outcome, Failure> {
    let (mechanism, blob) = wrap_somehow(line, wrapping, key)?;
    let unwrap = |list| {
        let template = templates::to_unwrap(AES, Allowed { aes: list, ..Allowed::default() });
        Ok(Passing::new(line.session, line.unwrap(mechanism, wrapping, &blob, &template)?))
    };
    honours([FOR_AES, &[CKM_AES_CBC]], unwrap, |key| gcm(line, key.handle))
}

fn bound_wrapping_key(line: Line<'_>) -> Result<Outcome, Failure> {
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
pub(in crate::hsm) fn for_wrapping_keys(line: Line<'_>) -> Result<List, HsmError> {
    Ok(match line.settled(|| bound_wrapping_key(line))? {
        Ok(Outcome::Ok) | Err(Failure { is_wanted: true, .. }) => FOR_WRAPPING,
        _ => &[],
    })
}

/// What a key is wrapped with where both are there: KWP, as in [`Profile`](super::Profile).
pub(in crate::hsm) fn wrap_somehow(
    line: Line<'_>,
    wrapping: ObjectHandle,
    key: ObjectHandle,
) -> Result<(WrapMechanism, Vec<u8>), HsmError> {
    let wrap = |mechanism| line.wrap(mechanism, wrapping, key).map(|blob| (mechanism, blob));
    line.settled(|| wrap(WrapMechanism::AesKeyWrapKwp))?.or_else(|_| wrap(WrapMechanism::AesKeyWrapPad))
}

fn bound_rsa(line: Line<'_>) -> Result<Outcome, Failure> {
    refuses(Pair::generate(line, &[CKM_RSA_PKCS])?.oaep(line, OaepHash::Sha1))
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

    /// Whether it is refused to sign, if the key is used as it is in use: unwrapped.
    fn only_decrypts(&self, line: Line<'_>, wrapping: ObjectHandle) -> Result<Outcome, Failure> {
        let (mechanism, blob) = wrap_somehow(line, wrapping, self.secret.handle)?;
        let back = line.unwrap(mechanism, wrapping, &blob, &templates::to_unwrap(RSA, Allowed::default()))?;
        let back = Passing::new(line.session, back);
        refuses(line.session.sign(&Mechanism::RsaPkcs, back.handle, b"message").map_err(HsmError::from))
    }

    fn bound_unwrapped(&self, line: Line<'_>, wrapping: ObjectHandle) -> Result<Outcome, Failure> {
        let (mechanism, blob) = wrap_somehow(line, wrapping, self.secret.handle)?;
        let unwrap = |list| {
            let template = templates::to_unwrap(RSA, Allowed { rsa: list, ..Allowed::default() });
            Ok(Passing::new(line.session, line.unwrap(mechanism, wrapping, &blob, &template)?))
        };
        honours([FOR_RAW_RSA, &[CKM_RSA_PKCS]], unwrap, |key| self.oaep_with(line, OaepHash::Sha1, key.handle))
    }

    /// Both ways by the HSM, and, with raw RSA, once more against our own padding: an HSM that took another hash for MGF1 would
    /// agree with itself and with nobody else.
    fn oaep_sha256(&self, line: Line<'_>, has_raw: bool) -> Trial {
        if !self.oaep(line, OaepHash::Sha256)? {
            return Ok(false);
        }
        if !has_raw {
            return Ok(true);
        }
        let ciphertext = self.encrypt_with_our_padding(line)?;
        let oaep = Oaep { hash: OaepHash::Sha256, sha256: OaepRoad::Native };
        Ok(same(b"plaintext", &line.oaep_decrypt(oaep, self.secret.handle, &self.key, &ciphertext)?))
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
