//! The HSM engine on a real PKCS#11 module.

mod encryption;
mod hanging;
mod login;
mod material;
mod overload;
mod permissions;
mod probe;
mod queue;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use strongroom::hsm::command::{Command, Decrypt, Encrypt, Generate, Open, Place, Seal, Sealed};
use strongroom::hsm::{HsmError, Kind, Settings};
use strongroom::key::material::{Material, MaterialId};
use strongroom::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use strongroom::secret::SecretBytes;

use crate::engine::Engine;
use crate::tokens::module;

const OAEP: [EncryptionAlgorithm; 2] = [EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256];

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn input(bytes: &[u8]) -> SecretBytes {
    SecretBytes::from(bytes.to_vec())
}

fn wrapped() -> Place {
    Place::Wrapped
}

/// A place on the token with an id of its own.
fn stored() -> Place {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    Place::Token { cka_id: [COUNT.fetch_add(1, Ordering::Relaxed); 16] }
}

async fn make(hsm: &Engine, spec: KeySpec, place: Place) -> Arc<Material> {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let id = MaterialId([COUNT.fetch_add(1, Ordering::Relaxed); 32]);
    let usage = KeyUsage::EncryptDecrypt;
    let made = hsm.call(Generate { id, spec, usage, place }, soon()).await;
    Arc::new(made.unwrap_or_else(|error| panic!("{error}")))
}

async fn aes(hsm: &Engine) -> Arc<Material> {
    make(hsm, KeySpec::SymmetricDefault, wrapped()).await
}

async fn seal(hsm: &Engine, material: &Arc<Material>, bytes: &[u8]) -> Result<Sealed, HsmError> {
    let command = Seal { material: Arc::clone(material), aad: b"aad".to_vec(), input: input(bytes) };
    hsm.call(command, soon()).await
}

async fn open(hsm: &Engine, material: &Arc<Material>, aad: &[u8], sealed: &Sealed) -> Result<Vec<u8>, HsmError> {
    let Sealed { iv, ciphertext } = sealed.clone();
    plaintext(hsm, Open { material: Arc::clone(material), aad: aad.to_vec(), iv, ciphertext }).await
}

async fn encrypt(
    hsm: &Engine,
    key: &Arc<Material>,
    algorithm: EncryptionAlgorithm,
    bytes: &[u8],
) -> Result<Vec<u8>, HsmError> {
    hsm.call(Encrypt { material: Arc::clone(key), algorithm, input: input(bytes) }, soon()).await
}

async fn decrypt(
    hsm: &Engine,
    key: &Arc<Material>,
    algorithm: EncryptionAlgorithm,
    ciphertext: &[u8],
) -> Result<Vec<u8>, HsmError> {
    plaintext(hsm, Decrypt { material: Arc::clone(key), algorithm, ciphertext: ciphertext.to_vec() }).await
}

async fn plaintext(hsm: &Engine, command: impl Command<Answer = SecretBytes>) -> Result<Vec<u8>, HsmError> {
    hsm.call(command, soon()).await.map(|bytes| bytes.expose().to_vec())
}

fn kind<T>(result: Result<T, HsmError>) -> Kind {
    result.err().expect("an error").kind
}

/// A session past the engine, to do to the token what others might do.
fn intruder(settings: &Settings) -> Session {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let label = settings.token.label.as_deref().unwrap();
    let is_ours = |slot: &_| pkcs11.get_token_info(*slot).unwrap().label().trim_end() == label;
    let slot = pkcs11.get_slots_with_initialized_token().unwrap().into_iter().find(is_ours).unwrap();
    pkcs11.open_rw_session(slot).unwrap()
}
