//! How the wrapping key of one HSM comes to another: what each of the two does. The order is in `hsm/join.rs`.
//!
//! The new HSM makes an RSA key pair; the other wraps the wrapping key under its public half, which the security officer
//! has trusted; the new one unwraps it. In clear it is in the two HSMs only. Before the new one keeps it, it opens with it
//! what the other has sealed, so that two HSMs which wrap in different ways are not joined.
//!
//! The security officer's PIN of the HSM that gives the key is asked for, because with the user's PIN alone nobody may take it
//! out.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use serde::{Deserialize, Serialize};

use crate::key::material::WrapMechanism;

use super::CarryOut;
use super::wrapping_key::{Leaves, nature};
use crate::hsm::engine::calls::mechanism::OaepHash;
use crate::hsm::engine::calls::objects::TemporaryObject;
use crate::hsm::engine::calls::public_key::RsaPublicKey;
use crate::hsm::engine::calls::session_calls::{Oaep, Sealed, SessionCalls};
use crate::hsm::engine::calls::templates::{self, Lifetime};
use crate::hsm::engine::calls::wrapping::{self, WrappingKey};
use crate::hsm::engine::probe::round_trips;
use crate::hsm::engine::profile::OaepMethod;
use crate::hsm::engine::profile::bindings::{AES, AllowedMechanisms, RSA};
use crate::hsm::engine::token;
use crate::hsm::engine::token::login::{self, Admission};
use crate::hsm::engine::token::module::Module;
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::pin::PinSource;
use crate::hsm::settings::Settings;

/// The modulus of the pair, in bits: the first that the HSM takes.
const MODULUS_BITS: [u32; 2] = [4096, 3072];
const MIN_MODULUS_BYTES: usize = 3072 / 8;

const KNOWN: &[u8] = b"strongroom: two HSMs, one wrapping key";
const AAD: &[u8] = b"strongroom join";

/// The OAEP that every HSM does, for the proof.
const OAEP: Oaep = Oaep { hash: OaepHash::Sha1, sha256: OaepMethod::Refused };

/// Proves which wrapping key the HSM has.
#[derive(Serialize, Deserialize)]
pub struct Prove;

impl CarryOut for Prove {
    type Answer = WrappingKeyProof;

    fn run(self, settings: &Settings) -> Result<WrappingKeyProof, HsmError> {
        prove(settings)
    }
}

/// Makes a pair of keys under which the wrapping key can come.
#[derive(Serialize, Deserialize)]
pub struct Invite {
    /// Which wrapping key.
    pub proof: WrappingKeyProof,
}

impl CarryOut for Invite {
    type Answer = Invited;

    fn run(self, settings: &Settings) -> Result<Invited, HsmError> {
        invite(settings, &self.proof)
    }
}

/// Gives the wrapping key away under the public half of a pair.
#[derive(Serialize, Deserialize)]
pub struct Release {
    /// The PIN of the security officer, who has to trust that public half.
    pub so_pin: PinSource,
    /// Which wrapping key.
    pub proof: WrappingKeyProof,
    /// The pair's public half.
    pub invitation: Invitation,
}

impl CarryOut for Release {
    type Answer = Released;

    fn run(self, settings: &Settings) -> Result<Released, HsmError> {
        release(settings, &self.so_pin, &self.proof, &self.invitation)
    }
}

/// Takes the wrapping key in.
#[derive(Serialize, Deserialize)]
pub struct Accept {
    /// Which wrapping key.
    pub proof: WrappingKeyProof,
    /// The pair.
    pub invitation: Invitation,
    /// The key.
    pub released: Released,
}

impl CarryOut for Accept {
    type Answer = ();

    fn run(self, settings: &Settings) -> Result<(), HsmError> {
        accept(settings, &self.proof, &self.invitation, &self.released)
    }
}

/// Destroys a pair to which no key will come.
#[derive(Serialize, Deserialize)]
pub struct Discard {
    /// The pair.
    pub invitation: Invitation,
}

impl CarryOut for Discard {
    type Answer = ();

    fn run(self, settings: &Settings) -> Result<(), HsmError> {
        discard(settings, &self.invitation)
    }
}

/// A secret that only the holder of the same wrapping key can open, if it also wraps in the same way.
#[derive(Clone, Serialize, Deserialize)]
pub struct WrappingKeyProof {
    /// CKA_ID of the wrapping key.
    pub(in crate::hsm) cka_id: Vec<u8>,
    /// How it may leave its HSM.
    pub(in crate::hsm) leaves: Leaves,
    mechanism: WrapMechanism,
    aes: AesProof,
    /// Private keys are encoded, and padded, in more ways than AES keys. `None` where the HSM does not wrap them.
    rsa: Option<RsaProof>,
}

/// A passing AES key, wrapped under the wrapping key, and the known text sealed under it.
#[derive(Clone, Serialize, Deserialize)]
struct AesProof {
    blob: Vec<u8>,
    sealed: Sealed,
}

/// The same of a passing RSA key.
#[derive(Clone, Serialize, Deserialize)]
struct RsaProof {
    blob: Vec<u8>,
    public_key: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// The public key under which a wrapping key may come to an HSM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Invitation {
    /// CKA_ID of its private half.
    cka_id: Vec<u8>,
    /// The key, as DER SubjectPublicKeyInfo.
    pub(in crate::hsm) public_key: Vec<u8>,
    /// The best OAEP that the HSM undoes.
    hash: OaepHash,
}

/// The answer to an invitation.
#[derive(Serialize, Deserialize)]
pub enum Invited {
    /// The HSM has the wrapping key, and has opened the proof with it.
    HasIt,
    /// It waits for the key.
    Waits(Invitation),
}

impl Invited {
    /// The invitation, if the HSM waits.
    pub fn waits(self) -> Option<Invitation> {
        if let Self::Waits(invitation) = self { Some(invitation) } else { None }
    }
}

/// A wrapping key under the public key of an invitation.
#[derive(Serialize, Deserialize)]
pub struct Released {
    blob: Vec<u8>,
    hash: OaepHash,
}

/// Proves which wrapping key the HSM has.
fn prove(settings: &Settings) -> Result<WrappingKeyProof, HsmError> {
    token::visit(settings, |calls, _turn| {
        let key = calls.wrapping_key(settings)?.ok_or_else(|| wrapping::no_key(&settings.wrapping_key_label))?;
        let passing = calls.passing_aes()?;
        let (mechanism, blob) = round_trips::wrap_somehow(calls, key.handle, passing.handle)?;
        let aes = AesProof { blob, sealed: calls.seal(passing.handle, AAD, KNOWN)? };
        let rsa = calls.prove_by_rsa(mechanism, key.handle).ok();
        Ok(WrappingKeyProof { leaves: key.leaves(calls)?, cka_id: key.cka_id, mechanism, aes, rsa })
    })
}

/// Makes the pair, unless the HSM has the wrapping key that `proof` is of.
fn invite(settings: &Settings, proof: &WrappingKeyProof) -> Result<Invited, HsmError> {
    token::visit(settings, |calls, turn| {
        if let Some(key) = calls.wrapping_key(settings)? {
            return has_it(calls, &key, proof).map(|()| Invited::HasIt);
        }
        if wrapping::find_by_id(calls, &proof.cka_id).is_ok() {
            return Err(HsmError::misconfigured("join", "it has a key of that CKA_ID under another label"));
        }
        // A pair takes its time, for which nobody needs to wait.
        drop(turn);
        calls.destroy_pairs(None)?;
        calls.make_pair().map(Invited::Waits)
    })
}

fn has_it(calls: SessionCalls<'_>, key: &WrappingKey, proof: &WrappingKeyProof) -> Result<(), HsmError> {
    match key.cka_id == proof.cka_id {
        true => calls.check_proof(proof, key.handle),
        false => Err(HsmError::misconfigured(
            "join",
            "it has another wrapping key of that label. Material that was wrapped under it is lost without it, so it is \
             not replaced: if nothing was, delete it with the HSM's own tools and join again",
        )),
    }
}

/// Wraps the wrapping key that `proof` is of under the public key of `invitation`, which the security officer trusts for it.
fn release(
    settings: &Settings,
    so_pin: &PinSource,
    proof: &WrappingKeyProof,
    invitation: &Invitation,
) -> Result<Released, HsmError> {
    let public = RsaPublicKey::from_spki(&invitation.public_key)?;
    if public.k() < MIN_MODULUS_BYTES {
        return Err(HsmError::misconfigured("join", "the key of the new HSM is too short"));
    }
    let mut admission = Admission::ask(settings)?;
    let module = Module::of(settings)?;
    let _alone = module.setting_up();
    let slot = settings.token.find(&module)?.slot;
    let session = module.open(slot)?;
    let calls = SessionCalls { functions: &module.functions, session: &session };
    login::log_in_as_so(&module, slot, &session, settings, so_pin, &mut admission.ledger)?;
    let trusted = session.create_object(&templates::joining_public_to_create(&public))?;
    let trusted = TemporaryObject::new(&session, trusted);
    session.logout()?;
    login::log_in(&module, slot, &session, settings, &mut admission)?;
    let key = calls.wrapping_key(settings)?.filter(|key| key.cka_id == proof.cka_id).ok_or_else(wrapping::missing)?;
    let wrap = |hash: OaepHash| Ok(Released { blob: calls.wrap_by(hash, trusted.handle, key.handle)?, hash });
    wrap(invitation.hash).or_else(|_: HsmError| wrap(OaepHash::Sha1))
}

/// Takes the wrapping key in, if it opens the proof. The pair is destroyed, whatever comes of it.
fn accept(
    settings: &Settings,
    proof: &WrappingKeyProof,
    invitation: &Invitation,
    released: &Released,
) -> Result<(), HsmError> {
    token::visit(settings, |calls, _turn| {
        let pair = calls.find_pairs(Some(&invitation.cka_id))?.into_iter().next();
        let pair = pair.ok_or_else(|| HsmError::new(Kind::KeyMissing, "join", "the pair for it is gone"))?;
        let pair = TemporaryObject::new(calls.session, pair);
        if calls.wrapping_key(settings)?.is_some() {
            return Err(HsmError::misconfigured("join", "it has got a wrapping key of that label meanwhile"));
        }
        let unwrap = |template: &[Attribute]| calls.unwrap_by(released.hash, pair.handle, &released.blob, template);
        // In the session first: a key that is not the right one is never on the token, where it would be found and used.
        let trial = unwrap(&templates::wrapping_key_to_unwrap(Lifetime::Leased, AllowedMechanisms::default()))?;
        calls.check_proof(proof, TemporaryObject::new(calls.session, trial).handle)?;
        let (life, allowed) = nature(calls, &proof.cka_id, &settings.wrapping_key_label, false)?;
        let kept = unwrap(&templates::wrapping_key_to_unwrap(life, allowed))?;
        let seen =
            calls.wrapping_key(settings).and_then(|key| has_it(calls, &key.ok_or_else(wrapping::missing)?, proof));
        if seen.is_err() {
            drop(TemporaryObject::new(calls.session, kept));
        }
        seen
    })
}

/// Destroys the pair of an invitation that nobody answers.
fn discard(settings: &Settings, invitation: &Invitation) -> Result<(), HsmError> {
    token::visit(settings, |calls, _turn| calls.destroy_pairs(Some(&invitation.cka_id)))
}

impl<'a> SessionCalls<'a> {
    fn wrapping_key(&self, settings: &Settings) -> Result<Option<WrappingKey>, HsmError> {
        wrapping::find(*self, &settings.wrapping_key_label)
    }

    fn passing_aes(&self) -> Result<TemporaryObject<'a>, HsmError> {
        let template = templates::to_generate(AES, Lifetime::Temporary, AllowedMechanisms::default());
        Ok(TemporaryObject::new(self.session, self.session.generate_key(&Mechanism::AesKeyGen, &template)?))
    }

    fn check_proof(&self, proof: &WrappingKeyProof, wrapping: ObjectHandle) -> Result<(), HsmError> {
        let by_aes = self.check_aes(proof.mechanism, wrapping, &proof.aes);
        let checked = by_aes.and_then(|()| match &proof.rsa {
            Some(rsa) => self.check_rsa(proof.mechanism, wrapping, rsa),
            None => Ok(()),
        });
        checked.map_err(|error| {
            let text = format!("it does not read what the other HSM wraps under the same key ({error})");
            HsmError::misconfigured("join", text)
        })
    }

    fn check_aes(&self, by: WrapMechanism, wrapping: ObjectHandle, proof: &AesProof) -> Result<(), HsmError> {
        let key = self.unwrap(by, wrapping, &proof.blob, &templates::to_unwrap(AES, AllowedMechanisms::default()))?;
        let key = TemporaryObject::new(self.session, key);
        SessionCalls::is_same(KNOWN, &self.open(key.handle, proof.sealed.iv, AAD, &proof.sealed.ciphertext)?)
    }

    fn prove_by_rsa(&self, by: WrapMechanism, wrapping: ObjectHandle) -> Result<RsaProof, HsmError> {
        let (secret, public, key) = self.generate_key(RSA, Lifetime::Temporary, AllowedMechanisms::default())?.rsa()?;
        let [secret, public] = [secret, public].map(|half| TemporaryObject::new(self.session, half));
        let blob = self.wrap(by, wrapping, secret.handle)?;
        Ok(RsaProof {
            blob,
            ciphertext: self.oaep_encrypt(OAEP, public.handle, &key, KNOWN)?,
            public_key: key.to_spki()?,
        })
    }

    fn check_rsa(&self, by: WrapMechanism, wrapping: ObjectHandle, proof: &RsaProof) -> Result<(), HsmError> {
        let key = self.unwrap(by, wrapping, &proof.blob, &templates::to_unwrap(RSA, AllowedMechanisms::default()))?;
        let key = TemporaryObject::new(self.session, key);
        let public = RsaPublicKey::from_spki(&proof.public_key)?;
        SessionCalls::is_same(KNOWN, &self.oaep_decrypt(OAEP, key.handle, &public, &proof.ciphertext)?)
    }

    fn make_pair(&self) -> Result<Invitation, HsmError> {
        let cka_id: [u8; 16] = self.unique()?;
        let generate = |bits| {
            self.session.generate_key_pair(
                &Mechanism::RsaPkcsKeyPairGen,
                &templates::joining_public_to_generate(bits),
                &templates::joining_private_to_generate(&cka_id),
            )
        };
        let [long, short] = MODULUS_BITS;
        let (public, secret) = generate(long).or_else(|_| generate(short))?;
        let made = self.try_pair(&cka_id, public, secret);
        if made.is_err() {
            drop(TemporaryObject::new(self.session, secret));
        }
        made
    }

    fn try_pair(&self, cka_id: &[u8], public: ObjectHandle, secret: ObjectHandle) -> Result<Invitation, HsmError> {
        let passing = self.passing_aes()?;
        let carry = |hash| {
            let blob = self.wrap_by(hash, public, passing.handle)?;
            let back = self.unwrap_by(hash, secret, &blob, &templates::to_unwrap(AES, AllowedMechanisms::default()))?;
            drop(TemporaryObject::new(self.session, back));
            Ok(hash)
        };
        let hash = carry(OaepHash::Sha256).or_else(|_: HsmError| carry(OaepHash::Sha1))?;
        Ok(Invitation { cka_id: cka_id.to_vec(), public_key: self.read_public(public)?.to_spki()?, hash })
    }

    fn wrap_by(&self, hash: OaepHash, public: ObjectHandle, key: ObjectHandle) -> Result<Vec<u8>, HsmError> {
        Ok(self.session.wrap_key(&hash.mechanism(), public, key)?)
    }

    fn unwrap_by(
        &self,
        hash: OaepHash,
        secret: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        Ok(self.session.unwrap_key(&hash.mechanism(), secret, blob, template)?)
    }

    /// The private halves of pairs: that with this id, or all, of which only joins that were killed leave any.
    fn find_pairs(&self, cka_id: Option<&[u8]>) -> Result<Vec<ObjectHandle>, HsmError> {
        let mut wanted = templates::joining_private();
        wanted.extend(cka_id.map(|id| Attribute::Id(id.to_vec())));
        self.find(&wanted)
    }

    fn destroy_pairs(&self, cka_id: Option<&[u8]>) -> Result<(), HsmError> {
        Ok(self.find_pairs(cka_id)?.into_iter().try_for_each(|pair| self.session.destroy_object(pair))?)
    }
}
