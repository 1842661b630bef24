//! Trials of key specs: a key is made, leaves the HSM wrapped, comes back, and does all that such a key is for.

use std::borrow::Cow;

use cryptoki::object::ObjectHandle;

use crate::hsm::error::{HsmError, Kind};
use crate::key::algorithm::{Algorithm, MacAlgorithm, SigningAlgorithm};
use crate::key::material::{Keeping, Material, MaterialId, WrapMechanism};
use crate::key::spec::{KeySpec, KeyUsage};

use super::refusal::Sessions;
use crate::hsm::engine::calls::generating::Generated;
use crate::hsm::engine::calls::objects::TemporaryObject;
use crate::hsm::engine::calls::session_calls::SessionCalls;
use crate::hsm::engine::calls::templates::{self, Lifetime};
use crate::hsm::engine::profile::bindings::{AES, AllowedMechanisms, Binding, Nature};
use crate::hsm::engine::profile::features::{
    BOUND_OTHERS, ED25519_PH, Feature, TrialOutcome, of_spec, of_spec_wrapped,
};

/// The key specs and usages that are tried. One RSA key stands for all lengths.
fn tried() -> impl Iterator<Item = Nature> {
    let all = KeySpec::ALL.iter().filter(|spec| !matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096 | KeySpec::Sm2));
    all.flat_map(|spec| spec.usages().iter().map(|usage| Nature { spec: *spec, usage: *usage }))
        .filter(|nature| nature.usage != KeyUsage::EncryptDecrypt)
}

/// Tries every key spec that does anything but encrypt; `wrap` is how keys leave, if they do.
pub(in crate::hsm) fn run(sessions: &mut Sessions<'_>, wrap: Option<WrapMechanism>) -> Result<Vec<Feature>, HsmError> {
    let home = sessions.home;
    let wrapping = wrap.map(|mechanism| home.settled(|| Wrapping::new(home, mechanism))).transpose()?.transpose()?;
    let mut features = Vec::new();
    let mut binding = None;
    for nature in tried() {
        let trial = KeySpecTrial { home, nature, wrapping: wrapping.as_ref() };
        features.extend(trial.run(sessions, &mut binding)?);
    }
    features.push(feature(ED25519_PH, sessions.settled(prehashed)?));
    let bound = binding.unwrap_or(TrialOutcome::Refused { code: "no such keys".to_owned() });
    features.push(Feature { name: BOUND_OTHERS.into(), outcome: bound });
    Ok(features)
}

fn feature(name: impl Into<Cow<'static, str>>, tried: Result<(), HsmError>) -> Feature {
    let outcome = match tried {
        Ok(()) => TrialOutcome::Ok,
        Err(error) if error.is_wrong_answer() => TrialOutcome::Wrong,
        Err(error) => TrialOutcome::Refused { code: error.code.into_owned() },
    };
    Feature { name: name.into(), outcome }
}

/// A wrapping key of the probe.
struct Wrapping<'a> {
    mechanism: WrapMechanism,
    key: TemporaryObject<'a>,
}

impl<'a> Wrapping<'a> {
    fn new(calls: SessionCalls<'a>, mechanism: WrapMechanism) -> Result<Self, HsmError> {
        let template = templates::wrapping_key(Lifetime::Leased, AllowedMechanisms::default());
        let key = calls.session.generate_key(&crate::hsm::engine::calls::mechanism::generation(AES.spec), &template)?;
        Ok(Self { mechanism, key: TemporaryObject::new(calls.session, key) })
    }
}

struct KeySpecTrial<'a> {
    home: SessionCalls<'a>,
    nature: Nature,
    wrapping: Option<&'a Wrapping<'a>>,
}

impl<'a> KeySpecTrial<'a> {
    fn run(&self, sessions: &mut Sessions<'_>, binding: &mut Option<TrialOutcome>) -> Result<Vec<Feature>, HsmError> {
        let Nature { spec, usage } = self.nature;
        let (made, bound) = match self.made(sessions, Binding::Bound)? {
            Ok(made) => (Ok(made), Binding::Bound),
            Err(_) => (self.made(sessions, Binding::Free)?, Binding::Free),
        };
        let (kept, left) = match &made {
            Ok(made) => (Ok(()), sessions.settled(|calls| self.comes_back(calls, made, bound))?),
            Err(error) => (Err(error.clone()), Err(error.clone())),
        };
        if let Ok(made) = &made {
            note(binding, self.binds(sessions, made, bound)?);
        }
        Ok(vec![feature(of_spec(spec, usage), kept), feature(of_spec_wrapped(spec, usage), left)])
    }

    /// A key that does what it is for.
    fn made(&self, sessions: &mut Sessions<'_>, others: Binding) -> Result<Result<Made<'a>, HsmError>, HsmError> {
        let made = match self.home.settled(|| self.make(others))? {
            Ok(made) => made,
            refused => return Ok(refused),
        };
        let works = sessions.settled(|calls| self.works(calls, &made, made.secret.handle))?;
        Ok(works.map(|()| made))
    }

    fn make(&self, others: Binding) -> Result<Made<'a>, HsmError> {
        let allowed = AllowedMechanisms { others, ..AllowedMechanisms::default() };
        let Generated { secret, public } = self.home.generate_key(self.nature, Lifetime::Temporary, allowed)?;
        let secret = TemporaryObject::new(self.home.session, secret);
        let _public = public.as_ref().map(|(handle, _)| TemporaryObject::new(self.home.session, *handle));
        let public_key = public.as_ref().map(|(_, key)| key.to_spki()).transpose()?;
        let Nature { spec, usage } = self.nature;
        let keeping = Keeping::Token { cka_id: Vec::new(), member: None };
        Ok(Made { secret, material: Material { id: MaterialId([0; 32]), spec, usage, keeping, public_key } })
    }

    /// An error unless `secret` does what the other half, or the key as it was made, undoes: by each algorithm.
    fn works(&self, calls: SessionCalls<'_>, made: &Made<'_>, secret: ObjectHandle) -> Result<(), HsmError> {
        let Nature { spec, usage } = self.nature;
        match usage {
            KeyUsage::SignVerify => SigningAlgorithm::of(spec)
                .iter()
                .filter(|algorithm| algorithm.is_of_every_hsm())
                .try_for_each(|algorithm| calls.test_signing(&made.material, secret, *algorithm)),
            KeyUsage::GenerateVerifyMac => {
                calls.test_mac(spec, made.secret.handle, secret)?;
                MacAlgorithm::of(spec).iter().try_for_each(|algorithm| known_mac(calls, spec, *algorithm))
            }
            KeyUsage::KeyAgreement => calls.test_agreement(&made.material, secret),
            KeyUsage::EncapsulateDecapsulate => calls.test_encapsulation(&made.material, secret),
            KeyUsage::EncryptDecrypt => Ok(()),
        }
    }

    fn comes_back(&self, calls: SessionCalls<'_>, made: &Made<'_>, others: Binding) -> Result<(), HsmError> {
        let back = self.back(calls, made, others)?;
        self.works(calls, made, back.handle)
    }

    fn back<'b>(
        &self,
        calls: SessionCalls<'b>,
        made: &Made<'_>,
        others: Binding,
    ) -> Result<TemporaryObject<'b>, HsmError> {
        let none = || HsmError::new(Kind::Unsupported, "wrap", "no AES key wrap with padding");
        let Wrapping { mechanism, key } = self.wrapping.ok_or_else(none)?;
        let blob = calls.wrap(*mechanism, key.handle, made.secret.handle)?;
        let template = templates::to_unwrap(self.nature, AllowedMechanisms { others, ..AllowedMechanisms::default() });
        let back = calls.unwrap(*mechanism, key.handle, &blob, &template)?;
        Ok(TemporaryObject::new(calls.session, back))
    }

    /// Tries a key that is bound to a mechanism it is not used with, which must be refused; that one bound to the right mechanisms works has
    /// been seen.
    fn binds(&self, sessions: &mut Sessions<'_>, made: &Made<'_>, bound: Binding) -> Result<TrialOutcome, HsmError> {
        Ok(match bound == Binding::Bound && !self.works_misbound(sessions, made)? {
            true => TrialOutcome::Ok,
            false => TrialOutcome::Ignored,
        })
    }

    fn works_misbound(&self, sessions: &mut Sessions<'_>, made: &Made<'_>) -> Result<bool, HsmError> {
        let Ok(back) = self.home.settled(|| self.back(self.home, made, Binding::Misbound))? else {
            // It cannot be unwrapped at all: so one is made.
            return Ok(self.made(sessions, Binding::Misbound)?.is_ok());
        };
        Ok(sessions.settled(|calls| self.works(calls, made, back.handle))?.is_ok())
    }
}

/// Notes the outcome of one kind in that of all kinds: the worst of them.
fn note(all: &mut Option<TrialOutcome>, one: TrialOutcome) {
    if all.as_ref().is_none_or(|all| *all == TrialOutcome::Ok) {
        *all = Some(one);
    }
}

struct Made<'a> {
    secret: TemporaryObject<'a>,
    material: Material,
}

/// The MAC of a key that is known here is what it should be: a MAC is verified by making it again, which alone shows nothing.
fn known_mac(calls: SessionCalls<'_>, spec: KeySpec, algorithm: MacAlgorithm) -> Result<(), HsmError> {
    let key = vec![7; spec.mac_bytes().unwrap_or_default()];
    let template = templates::known_mac_key(Nature { spec, usage: KeyUsage::GenerateVerifyMac }, key.clone());
    let handle = TemporaryObject::new(calls.session, calls.session.create_object(&template)?);
    let mac = calls.mac(algorithm, handle.handle, b"message")?;
    match mac == crate::hsm::engine::calls::signing::mac_here(algorithm, &key, b"message") {
        true => Ok(()),
        false => Err(HsmError::wrong_answer("self-test")),
    }
}

/// Ed25519ph signs something else than Ed25519; both are deterministic.
fn prehashed(calls: SessionCalls<'_>) -> Result<(), HsmError> {
    let nature = Nature { spec: KeySpec::EccNistEdwards25519, usage: KeyUsage::SignVerify };
    let Generated { secret, public } = calls.generate_key(nature, Lifetime::Temporary, AllowedMechanisms::default())?;
    let secret = TemporaryObject::new(calls.session, secret);
    let _public = public.map(|(handle, _)| TemporaryObject::new(calls.session, handle));
    let sign = |algorithm| calls.sign(nature.spec, algorithm, secret.handle, &[7; 64]);
    match sign(SigningAlgorithm::Ed25519PhSha512)? == sign(SigningAlgorithm::Ed25519Sha512)? {
        true => Err(HsmError::wrong_answer("self-test")),
        false => Ok(()),
    }
}
