//! The commands that an HSM is measured with.

use std::{sync::Arc, time::Instant};

use crate::{
    cli::bench::HsmOperation,
    hsm::{
        Hsm, HsmError,
        command::{self, Command, Decrypt, Encrypt, Generate, Mac, Open, Place, Seal, Sign},
    },
    key::{
        algorithm::{MacAlgorithm, MessageType, SigningAlgorithm},
        material::{Material, MaterialId},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
    secret::SecretBytes,
    server::ExitError,
};

/// Most that OAEP with SHA-256 takes under RSA-2048, in bytes (RFC 8017, section 7.1.1).
const MAX_OAEP_BYTES: u16 = 190;

/// A command that is given again and again.
pub enum Workload {
    Seal(Seal),
    Open(Open),
    Random(command::Random),
    Mac(Mac),
    Sign(Sign),
    Decrypt(Decrypt),
    Generate(Generate),
}

impl Workload {
    /// The command for an operation, with random data of so many bytes, under a new key, which is noted in `made`; none if the HSM
    /// cannot do it.
    ///
    /// # Errors
    /// If the HSM fails.
    pub async fn of(
        operation: HsmOperation,
        hsm: &Hsm,
        bytes: u16,
        deadline: Instant,
        made: &mut Vec<Arc<Material>>,
    ) -> Result<Option<Self>, ExitError> {
        use HsmOperation::*;
        let (spec, usage) = key_of(operation);
        let is_generated = matches!(operation, AesGenerate | EcGenerate);
        // As many objects as calls would have to be destroyed.
        if !hsm.supports(spec, usage)? || is_generated && !hsm.wraps(spec, usage) {
            return Ok(None);
        }
        if operation == Random {
            return Ok(Some(Self::Random(command::Random { len: bytes.into() })));
        }
        let generate = Generate { id: MaterialId(random()?), spec, usage, place: place(hsm, spec, usage)? };
        if is_generated {
            return Ok(Some(Self::Generate(generate)));
        }
        let material = Arc::new(hsm.call(generate, deadline).await?);
        made.push(Arc::clone(&material));
        let input = plaintext(bytes)?;
        Ok(Some(match operation {
            AesEncrypt => Self::Seal(Seal { material, aad: Vec::new(), input }),
            AesDecrypt => Self::Open(sealed(hsm, material, input, deadline).await?),
            RsaDecrypt => return encrypted(hsm, material, plaintext(bytes.min(MAX_OAEP_BYTES))?, deadline).await,
            Hmac => Self::Mac(Mac { material, algorithm: MacAlgorithm::HmacSha256, input }),
            EcSign => Self::Sign(to_sign(material, SigningAlgorithm::EcdsaSha256, &input)?),
            RsaSign => Self::Sign(to_sign(material, SigningAlgorithm::RsassaPssSha256, &input)?),
            Random | AesGenerate | EcGenerate => return Ok(None),
        }))
    }

    /// Has the HSM do it once.
    pub async fn perform(&self, hsm: &Hsm, deadline: Instant) -> Result<(), HsmError> {
        match self {
            Self::Seal(command) => once(hsm, command, deadline).await,
            Self::Open(command) => once(hsm, command, deadline).await,
            Self::Random(command) => once(hsm, command, deadline).await,
            Self::Mac(command) => once(hsm, command, deadline).await,
            Self::Sign(command) => once(hsm, command, deadline).await,
            Self::Decrypt(command) => once(hsm, command, deadline).await,
            Self::Generate(command) => once(hsm, command, deadline).await,
        }
    }
}

async fn once<C: Command>(hsm: &Hsm, command: &C, deadline: Instant) -> Result<(), HsmError> {
    hsm.call(command.clone(), deadline).await.map(drop)
}

/// The key that an operation is done with, or makes.
fn key_of(operation: HsmOperation) -> (KeySpec, KeyUsage) {
    use HsmOperation::*;
    match operation {
        AesEncrypt | AesDecrypt | AesGenerate | Random => (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt),
        Hmac => (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac),
        EcSign | EcGenerate => (KeySpec::EccNistP256, KeyUsage::SignVerify),
        RsaSign => (KeySpec::Rsa2048, KeyUsage::SignVerify),
        RsaDecrypt => (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt),
    }
}

/// Where the service would keep such a key: wrapped if the HSM wraps it, else as an object on the HSM.
fn place(hsm: &Hsm, spec: KeySpec, usage: KeyUsage) -> Result<Place, ExitError> {
    if hsm.wraps(spec, usage) { Ok(Place::Wrapped) } else { Ok(Place::Token { cka_id: random()? }) }
}

async fn sealed(hsm: &Hsm, material: Arc<Material>, input: SecretBytes, deadline: Instant) -> Result<Open, ExitError> {
    let seal = Seal { material: Arc::clone(&material), aad: Vec::new(), input };
    let sealed = hsm.call(seal, deadline).await?;
    Ok(Open { material, aad: Vec::new(), iv: sealed.iv, ciphertext: sealed.ciphertext })
}

async fn encrypted(
    hsm: &Hsm,
    material: Arc<Material>,
    input: SecretBytes,
    deadline: Instant,
) -> Result<Option<Workload>, ExitError> {
    let algorithm = EncryptionAlgorithm::RsaesOaepSha256;
    if !hsm.encrypts(algorithm) {
        return Ok(None);
    }
    let ciphertext = hsm.call(Encrypt { material: Arc::clone(&material), algorithm, input }, deadline).await?;
    Ok(Some(Workload::Decrypt(Decrypt { material, algorithm, ciphertext })))
}

fn to_sign(material: Arc<Material>, algorithm: SigningAlgorithm, message: &SecretBytes) -> Result<Sign, ExitError> {
    let input = algorithm.input(MessageType::Raw, message.expose());
    let input = input.map_err(|_| ExitError::new("a message that cannot be signed"))?;
    Ok(Sign { material, algorithm, input })
}

fn plaintext(bytes: u16) -> Result<SecretBytes, ExitError> {
    let mut data = vec![0; bytes.into()];
    fill(&mut data)?;
    Ok(data.into())
}

fn random<const N: usize>() -> Result<[u8; N], ExitError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn fill(bytes: &mut [u8]) -> Result<(), ExitError> {
    getrandom::fill(bytes).map_err(|error| ExitError::new(error.to_string()))
}
