//! Keys of vectors come into the HSM as users' keys do: encrypted for a key pair that the HSM has made for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aes_kw::{KeyInit, KwpAes256};
use strongroom::{
    hsm::{Answer, Command, HsmError, Kind, Place},
    key::{
        algorithm::WrappingAlgorithm,
        material::{Material, MaterialId},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
    secret::SecretBytes,
};
use tokio::sync::OnceCell;

use crate::hsm;

/// The AES key that each key comes under; here it is no secret.
const KEK: [u8; 32] = [3; 32];

/// What keys come in by.
struct Gate {
    carrier: Arc<Material>,
    /// [`KEK`] under the public half of the carrier.
    kek: Vec<u8>,
}

/// Does a command.
pub async fn call(command: Command) -> Result<Answer, HsmError> {
    hsm().call(command, Instant::now() + Duration::from_secs(60)).await
}

/// What the service would have of an imported key, or why it was not let in.
pub async fn import(spec: KeySpec, usage: KeyUsage, key: &[u8]) -> Result<Arc<Material>, HsmError> {
    let gate = gate().await;
    let mut wrapped = vec![0; key.len().div_ceil(8) * 8 + 8];
    KwpAes256::new(&KEK.into()).wrap_key(key, &mut wrapped).unwrap();
    let command = Command::Import {
        carrier: Arc::clone(&gate.carrier),
        algorithm: WrappingAlgorithm::RsaAesKeyWrapSha1,
        blob: [&gate.kek[..], &wrapped].concat(),
        spec,
        usage,
        place: Place::Wrapped,
    };
    match call(command).await? {
        Answer::Imported { material, .. } => Ok(Arc::new(Material { id: new_id(), ..material })),
        _ => panic!("another answer"),
    }
}

/// The same where there is nothing wrong with the key.
pub async fn imported(spec: KeySpec, usage: KeyUsage, key: &[u8]) -> Arc<Material> {
    import(spec, usage, key).await.unwrap_or_else(|error| panic!("{spec}, {} bytes: {error}", key.len()))
}

/// Whether a key is refused because it is not of the spec.
pub async fn is_unfit(spec: KeySpec, usage: KeyUsage, key: &[u8]) -> bool {
    import(spec, usage, key).await.is_err_and(|error| error.kind == Kind::Unfit)
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
        let Ok(Answer::Material(carrier)) = call(Command::GenerateCarrier { spec: KeySpec::Rsa2048 }).await else {
            panic!("no carrier")
        };
        let carrier = Arc::new(carrier);
        let command = Command::Encrypt {
            material: Arc::clone(&carrier),
            algorithm: EncryptionAlgorithm::RsaesOaepSha1,
            input: SecretBytes::from(KEK.to_vec()),
        };
        let Ok(Answer::Bytes(kek)) = call(command).await else { panic!("the carrier encrypts nothing") };
        Self { carrier, kek }
    }
}
