//! Round trips with AES and RSA keys: what of a [`Profile`](crate::hsm::engine::profile::Profile) is found out by them. Trials of key specs
//! are in `key_specs`.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki_sys::{CK_MECHANISM_TYPE, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_RSA_PKCS};

use crate::hsm::error::{HsmError, Kind};
use crate::key::material::WrapMechanism;
use crate::secret::SecretBytes;

use super::refusal::{Sessions, TrialFailure};
use crate::hsm::engine::calls::mechanism::OaepHash;
use crate::hsm::engine::calls::oaep;
use crate::hsm::engine::calls::objects::TemporaryObject;
use crate::hsm::engine::calls::public_key::RsaPublicKey;
use crate::hsm::engine::calls::session_calls::{Oaep, SessionCalls};
use crate::hsm::engine::calls::templates::{self, Lifetime, PROBE_LABEL};
use crate::hsm::engine::profile::OaepMethod;
use crate::hsm::engine::profile::bindings::{AES, AllowedMechanisms, FOR_AES, FOR_RAW_RSA, FOR_WRAPPING, RSA};
use crate::hsm::engine::profile::features::{
    AES_KEY, BAD_TAG, BOUND_AES, BOUND_RSA, BOUND_UNWRAPPED_AES, BOUND_UNWRAPPED_RSA, BOUND_WRAPPING, Feature, GCM,
    KWP_AES, KWP_RSA, OAEP_SHA1, OAEP_SHA256, ONLY_DECRYPTS, PAD_AES, PAD_RSA, RANDOM, RAW_RSA, RSA_KEYS, STAYS,
    STORED_GCM, TrialOutcome,
};

/// Tries all of them.
pub(in crate::hsm) fn run(sessions: &mut Sessions<'_>) -> Result<Vec<Feature>, HsmError> {
    clear_leftovers(sessions)?;
    let home = sessions.home;
    let mut trials = RoundTrips { sessions, features: Vec::new() };
    trials.run(home)?;
    Ok(trials.features)
}

/// The trials, each a round trip with session objects that are gone afterwards.
struct RoundTrips<'a, 'b> {
    sessions: &'a mut Sessions<'b>,
    features: Vec<Feature>,
}

/// The result of a round trip: the right bytes, the wrong ones, or a refusal.
type RoundTrip = Result<bool, HsmError>;

impl RoundTrips<'_, '_> {
    fn note(&mut self, name: &'static str, trial: impl Fn(SessionCalls<'_>) -> RoundTrip) -> Result<(), HsmError> {
        let outcome = |right| if right { TrialOutcome::Ok } else { TrialOutcome::Wrong };
        self.note_outcome(name, |calls| Ok(outcome(trial(calls)?)))
    }

    fn note_outcome(
        &mut self,
        name: &'static str,
        trial: impl Fn(SessionCalls<'_>) -> Result<TrialOutcome, TrialFailure>,
    ) -> Result<(), HsmError> {
        let outcome = self.sessions.settled(trial)?.unwrap_or_else(TrialOutcome::of);
        self.features.push(Feature { name: name.into(), outcome });
        Ok(())
    }

    fn run(&mut self, home: SessionCalls<'_>) -> Result<(), HsmError> {
        self.note(RANDOM, random)?;
        let aes = home.settled(|| aes(home, Lifetime::Temporary, &[]))?;
        self.note(AES_KEY, |_| tried(&aes).map(|_| true))?;
        self.note(GCM, |calls| gcm(calls, tried(&aes)?.handle))?;
        self.note(BAD_TAG, |calls| gcm_bad_tag(calls, tried(&aes)?.handle))?;
        self.note(STORED_GCM, stored_gcm)?;

        let wrapping = home.settled(|| wrapping_key(home, &[]))?;
        for (name, mechanism) in [(KWP_AES, WrapMechanism::AesKeyWrapKwp), (PAD_AES, WrapMechanism::AesKeyWrapPad)] {
            self.note(name, |calls| wrap_aes(calls, mechanism, tried(&wrapping)?.handle, tried(&aes)?.handle))?;
        }
        self.note_outcome(STAYS, |calls| stays(calls, tried(&wrapping)?.handle, tried(&aes)?.handle))?;
        self.note_outcome(BOUND_AES, bound_aes)?;
        let bound = |calls: SessionCalls<'_>| bound_unwrapped_aes(calls, tried(&wrapping)?.handle, tried(&aes)?.handle);
        self.note_outcome(BOUND_UNWRAPPED_AES, bound)?;
        self.note_outcome(BOUND_WRAPPING, bound_wrapping_key)?;
        self.rsa(home, &wrapping)
    }

    fn rsa(
        &mut self,
        home: SessionCalls<'_>,
        wrapping: &Result<TemporaryObject<'_>, HsmError>,
    ) -> Result<(), HsmError> {
        // Bound to all that the trials do with it, or not at all if that does not work.
        let (refused, pair) = match self.pair_bound(home)? {
            Ok(pair) => (None, Ok(pair)),
            Err(error) => (Some(error), home.settled(|| RsaPair::generate(home, &[]))?),
        };
        self.note(RSA_KEYS, |_| tried(&pair).map(|_| true))?;
        for (name, mechanism) in [(KWP_RSA, WrapMechanism::AesKeyWrapKwp), (PAD_RSA, WrapMechanism::AesKeyWrapPad)] {
            self.note(name, |calls| tried(&pair)?.wrap(calls, mechanism, tried(wrapping)?.handle))?;
        }
        self.note(OAEP_SHA1, |calls| tried(&pair)?.oaep(calls, OaepHash::Sha1))?;
        self.note(RAW_RSA, |calls| tried(&pair)?.raw(calls))?;
        let has_raw =
            self.features.iter().any(|feature| feature.name == RAW_RSA && feature.outcome == TrialOutcome::Ok);
        self.note(OAEP_SHA256, |calls| tried(&pair)?.oaep_sha256(calls, has_raw))?;
        self.note_outcome(ONLY_DECRYPTS, |calls| tried(&pair)?.only_decrypts(calls, tried(wrapping)?.handle))?;
        self.note_outcome(BOUND_RSA, |calls| match &refused {
            Some(error) => Err(error.clone().into()),
            None => bound_rsa(calls),
        })?;
        let bound = |calls: SessionCalls<'_>| tried(&pair)?.bound_unwrapped(calls, tried(wrapping)?.handle);
        self.note_outcome(BOUND_UNWRAPPED_RSA, bound)
    }

    /// A pair that is bound to all that the trials do with it, if it does what every RSA key must do.
    fn pair_bound<'a>(&mut self, home: SessionCalls<'a>) -> Result<Result<RsaPair<'a>, HsmError>, HsmError> {
        let pair = match home.settled(|| RsaPair::generate(home, FOR_RAW_RSA))? {
            Ok(pair) => pair,
            refused => return Ok(refused),
        };
        let works = self.sessions.settled(|calls| pair.oaep(calls, OaepHash::Sha1))?;
        Ok(works.map(|_| pair))
    }
}

impl TrialOutcome {
    /// The outcome of a trial that did not come to its end.
    fn of(failure: TrialFailure) -> Self {
        match failure.is_wanted {
            true => Self::Ok,
            false => Self::Refused { code: failure.error.code.into_owned() },
        }
    }
}

/// Destroys what a probe that was killed has left on the token. What cannot be cleared costs nothing but its place.
fn clear_leftovers(sessions: &mut Sessions<'_>) -> Result<(), HsmError> {
    match sessions.settled(|calls| calls.destroy_left_by_a_probe())? {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "keys of a probe that did not end were destroyed"),
        Err(error) => tracing::warn!(%error, "keys of a probe that did not end could not be looked for or destroyed"),
    }
    Ok(())
}

/// The object that an earlier trial made, or its error as the error of this one.
fn tried<T>(earlier: &Result<T, HsmError>) -> Result<&T, HsmError> {
    earlier.as_ref().map_err(Clone::clone)
}

fn same(plaintext: &[u8], opened: &SecretBytes) -> bool {
    SessionCalls::is_same(plaintext, opened).is_ok()
}

fn random(calls: SessionCalls<'_>) -> RoundTrip {
    let one = calls.random(32)?;
    let other = calls.random(32)?;
    Ok(one.len() == 32 && !same(one.expose(), &other))
}

fn gcm(calls: SessionCalls<'_>, key: ObjectHandle) -> RoundTrip {
    let sealed = calls.seal(key, b"aad", b"plaintext")?;
    Ok(same(b"plaintext", &calls.open(key, sealed.iv, b"aad", &sealed.ciphertext)?))
}

/// The refusal itself is what is wanted; that its code is noted is for whoever reads the profile.
fn gcm_bad_tag(calls: SessionCalls<'_>, key: ObjectHandle) -> RoundTrip {
    let sealed = calls.seal(key, b"aad", b"plaintext")?;
    calls.open(key, sealed.iv, b"other", &sealed.ciphertext).map(|_| false)
}

/// Tries to wrap a key, which must be refused, that differs from one that is in nothing but CKA_EXTRACTABLE.
fn stays(calls: SessionCalls<'_>, wrapping: ObjectHandle, free: ObjectHandle) -> Result<TrialOutcome, TrialFailure> {
    wrap_somehow(calls, wrapping, free)?;
    let kept = aes(calls, Lifetime::Leased, &[])?;
    refuses(wrap_somehow(calls, wrapping, kept.handle))
}

fn stored_gcm(calls: SessionCalls<'_>) -> RoundTrip {
    let cka_id: [u8; 16] = calls.unique()?;
    let life = Lifetime::Token { cka_id: &cka_id, label: PROBE_LABEL };
    gcm(calls, aes(calls, life, &[])?.handle)
}

fn aes<'a>(calls: SessionCalls<'a>, life: Lifetime<'_>, allowed: List) -> Result<TemporaryObject<'a>, HsmError> {
    let made = calls.generate_key(AES, life, AllowedMechanisms { aes: allowed, ..AllowedMechanisms::default() })?;
    Ok(TemporaryObject::new(calls.session, made.secret))
}

fn wrapping_key<'a>(calls: SessionCalls<'a>, allowed: List) -> Result<TemporaryObject<'a>, HsmError> {
    let template = templates::wrapping_key(
        Lifetime::Leased,
        AllowedMechanisms { wrapping: allowed, ..AllowedMechanisms::default() },
    );
    Ok(TemporaryObject::new(calls.session, calls.session.generate_key(&Mechanism::AesKeyGen, &template)?))
}

/// Mechanisms for a template.
type List = &'static [CK_MECHANISM_TYPE];

/// True if a key that is bound to the `right` mechanisms works, and one that is bound to the `wrong` ones does not. Nothing
/// but the list differs between the two, so a refusal is the list's doing.
fn honours<K>(
    [right, wrong]: [List; 2],
    make: impl Fn(List) -> Result<K, HsmError>,
    work: impl Fn(&K) -> RoundTrip,
) -> Result<TrialOutcome, TrialFailure> {
    if !work(&make(right)?)? {
        return Ok(TrialOutcome::Wrong);
    }
    refuses(work(&make(wrong)?))
}

fn refuses<T>(attempt: Result<T, HsmError>) -> Result<TrialOutcome, TrialFailure> {
    attempt.map(|_| TrialOutcome::Ignored).map_err(TrialFailure::wanted)
}

fn bound_aes(calls: SessionCalls<'_>) -> Result<TrialOutcome, TrialFailure> {
    honours([FOR_AES, &[CKM_AES_CBC]], |list| aes(calls, Lifetime::Leased, list), |key| gcm(calls, key.handle))
}

fn bound_unwrapped_aes(
    calls: SessionCalls<'_>,
    wrapping: ObjectHandle,
    key: ObjectHandle,
) -> Result<TrialOutcome, TrialFailure> {
    let (mechanism, blob) = wrap_somehow(calls, wrapping, key)?;
    let unwrap = |list| {
        let template = templates::to_unwrap(AES, AllowedMechanisms { aes: list, ..AllowedMechanisms::default() });
        Ok(TemporaryObject::new(calls.session, calls.unwrap(mechanism, wrapping, &blob, &template)?))
    };
    honours([FOR_AES, &[CKM_AES_CBC]], unwrap, |key| gcm(calls, key.handle))
}

fn bound_wrapping_key(calls: SessionCalls<'_>) -> Result<TrialOutcome, TrialFailure> {
    let key = aes(calls, Lifetime::Temporary, &[])?;
    let wrap = |wrapping: &TemporaryObject<'_>| {
        let (mechanism, blob) = wrap_somehow(calls, wrapping.handle, key.handle)?;
        let template = templates::to_unwrap(AES, AllowedMechanisms::default());
        calls
            .unwrap(mechanism, wrapping.handle, &blob, &template)
            .map(|back| TemporaryObject::new(calls.session, back))?;
        Ok(true)
    };
    honours([FOR_WRAPPING, &[CKM_AES_CBC_PAD]], |list| wrapping_key(calls, list), wrap)
}

/// The mechanisms to which a wrapping key of this HSM is to be bound.
pub(in crate::hsm) fn for_wrapping_keys(calls: SessionCalls<'_>) -> Result<List, HsmError> {
    Ok(match calls.settled(|| bound_wrapping_key(calls))? {
        Ok(TrialOutcome::Ok) | Err(TrialFailure { is_wanted: true, .. }) => FOR_WRAPPING,
        _ => &[],
    })
}

/// Wraps a key by KWP where both mechanisms are there, as in [`Profile`](super::Profile).
pub(in crate::hsm) fn wrap_somehow(
    calls: SessionCalls<'_>,
    wrapping: ObjectHandle,
    key: ObjectHandle,
) -> Result<(WrapMechanism, Vec<u8>), HsmError> {
    let wrap = |mechanism| calls.wrap(mechanism, wrapping, key).map(|blob| (mechanism, blob));
    calls.settled(|| wrap(WrapMechanism::AesKeyWrapKwp))?.or_else(|_| wrap(WrapMechanism::AesKeyWrapPad))
}

fn bound_rsa(calls: SessionCalls<'_>) -> Result<TrialOutcome, TrialFailure> {
    refuses(RsaPair::generate(calls, &[CKM_RSA_PKCS])?.oaep(calls, OaepHash::Sha1))
}

fn wrap_aes(calls: SessionCalls<'_>, mechanism: WrapMechanism, wrapping: ObjectHandle, key: ObjectHandle) -> RoundTrip {
    let blob = calls.wrap(mechanism, wrapping, key)?;
    let template = templates::to_unwrap(AES, AllowedMechanisms::default());
    let back = TemporaryObject::new(calls.session, calls.unwrap(mechanism, wrapping, &blob, &template)?);
    let sealed = calls.seal(key, b"", b"plaintext")?;
    Ok(same(b"plaintext", &calls.open(back.handle, sealed.iv, b"", &sealed.ciphertext)?))
}

/// An RSA key pair of the probe.
struct RsaPair<'a> {
    secret: TemporaryObject<'a>,
    public: TemporaryObject<'a>,
    key: RsaPublicKey,
}

impl<'a> RsaPair<'a> {
    fn generate(calls: SessionCalls<'a>, allowed: List) -> Result<Self, HsmError> {
        let allowed = AllowedMechanisms { rsa: allowed, ..AllowedMechanisms::default() };
        let (secret, public, key) = calls.generate_key(RSA, Lifetime::Temporary, allowed)?.rsa()?;
        let passing = |handle| TemporaryObject::new(calls.session, handle);
        Ok(Self { secret: passing(secret), public: passing(public), key })
    }

    fn oaep(&self, calls: SessionCalls<'_>, hash: OaepHash) -> RoundTrip {
        self.oaep_with(calls, hash, self.secret.handle)
    }

    fn oaep_with(&self, calls: SessionCalls<'_>, hash: OaepHash, secret: ObjectHandle) -> RoundTrip {
        let oaep = Oaep { hash, sha256: OaepMethod::Native };
        let ciphertext = calls.oaep_encrypt(oaep, self.public.handle, &self.key, b"plaintext")?;
        Ok(same(b"plaintext", &calls.oaep_decrypt(oaep, secret, &self.key, &ciphertext)?))
    }

    /// Tries to sign with the key as it is in use, unwrapped; it must be refused.
    fn only_decrypts(&self, calls: SessionCalls<'_>, wrapping: ObjectHandle) -> Result<TrialOutcome, TrialFailure> {
        let (mechanism, blob) = wrap_somehow(calls, wrapping, self.secret.handle)?;
        let back =
            calls.unwrap(mechanism, wrapping, &blob, &templates::to_unwrap(RSA, AllowedMechanisms::default()))?;
        let back = TemporaryObject::new(calls.session, back);
        refuses(calls.session.sign(&Mechanism::RsaPkcs, back.handle, b"message").map_err(HsmError::from))
    }

    fn bound_unwrapped(&self, calls: SessionCalls<'_>, wrapping: ObjectHandle) -> Result<TrialOutcome, TrialFailure> {
        let (mechanism, blob) = wrap_somehow(calls, wrapping, self.secret.handle)?;
        let unwrap = |list| {
            let template = templates::to_unwrap(RSA, AllowedMechanisms { rsa: list, ..AllowedMechanisms::default() });
            Ok(TemporaryObject::new(calls.session, calls.unwrap(mechanism, wrapping, &blob, &template)?))
        };
        honours([FOR_RAW_RSA, &[CKM_RSA_PKCS]], unwrap, |key| self.oaep_with(calls, OaepHash::Sha1, key.handle))
    }

    /// Both ways by the HSM, and, with raw RSA, once more against our own padding: an HSM that took another hash for MGF1 would
    /// agree with itself and with nobody else.
    fn oaep_sha256(&self, calls: SessionCalls<'_>, has_raw: bool) -> RoundTrip {
        if !self.oaep(calls, OaepHash::Sha256)? {
            return Ok(false);
        }
        if !has_raw {
            return Ok(true);
        }
        let ciphertext = self.encrypt_with_our_padding(calls)?;
        let oaep = Oaep { hash: OaepHash::Sha256, sha256: OaepMethod::Native };
        Ok(same(b"plaintext", &calls.oaep_decrypt(oaep, self.secret.handle, &self.key, &ciphertext)?))
    }

    fn encrypt_with_our_padding(&self, calls: SessionCalls<'_>) -> Result<Vec<u8>, HsmError> {
        let oaep = Oaep { hash: OaepHash::Sha256, sha256: OaepMethod::RawWithHostUnpadding };
        calls.oaep_encrypt(oaep, self.public.handle, &self.key, b"plaintext")
    }

    /// All k bytes, the leading zero too: a module that strips it cannot be used for host un-padding.
    fn raw(&self, calls: SessionCalls<'_>) -> RoundTrip {
        let encoded = oaep::pad(self.key.k(), &calls.unique()?, b"plaintext")
            .ok_or_else(|| HsmError::new(Kind::Bug, "probe", "the modulus is too short"))?;
        let public = self.public.handle;
        let ciphertext =
            calls.functions.encrypt_once(calls.session, &Mechanism::RsaX509, public, &encoded, self.key.k())?;
        Ok(same(&encoded, &calls.raw_decrypt(self.secret.handle, &self.key, &ciphertext)?))
    }

    fn wrap(&self, calls: SessionCalls<'_>, mechanism: WrapMechanism, wrapping: ObjectHandle) -> RoundTrip {
        let blob = calls.wrap(mechanism, wrapping, self.secret.handle)?;
        let back =
            calls.unwrap(mechanism, wrapping, &blob, &templates::to_unwrap(RSA, AllowedMechanisms::default()))?;
        let back = TemporaryObject::new(calls.session, back);
        self.oaep_with(calls, OaepHash::Sha1, back.handle)
    }
}
