//! What can be asked of the HSM, and what it answers: plain data, no handles, no closures.
//!
//! So a command may be queued, dropped, repeated on another session or another HSM, or sent to another process.

pub use crate::identity::Asker;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::key::algorithm::{MacAlgorithm, SigningAlgorithm, WrappingAlgorithm};
use crate::key::material::{Keeping, Material, MaterialId};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use crate::secret::SecretBytes;

use super::wire;

/// One thing to do in the HSM.
#[derive(Clone, Serialize, Deserialize)]
pub enum Command {
    /// Encrypts under AES-256-GCM with a fresh 96-bit IV. Answered by [`Answer::Sealed`].
    Seal {
        /// The AES key.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// What is authenticated beside the plaintext.
        #[serde(with = "wire::bytes")]
        aad: Vec<u8>,
        /// The plaintext.
        #[serde(with = "wire::secret")]
        input: SecretBytes,
    },
    /// Makes random bytes in the HSM and encrypts them as `Seal` does. Answered by [`Answer::SealedRandom`].
    SealRandom {
        /// The AES key.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// What is authenticated beside the plaintext.
        #[serde(with = "wire::bytes")]
        aad: Vec<u8>,
        /// How many random bytes.
        len: usize,
    },
    /// Decrypts what `Seal` made. Answered by [`Answer::Plaintext`].
    Open {
        /// The AES key.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// What was authenticated beside the plaintext.
        #[serde(with = "wire::bytes")]
        aad: Vec<u8>,
        /// The IV of the ciphertext.
        iv: [u8; 12],
        /// The ciphertext with its 16-byte tag.
        #[serde(with = "wire::bytes")]
        ciphertext: Vec<u8>,
    },
    /// RSAES-OAEP with the public half. Answered by [`Answer::Bytes`].
    Encrypt {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// Which OAEP.
        algorithm: EncryptionAlgorithm,
        /// The plaintext.
        #[serde(with = "wire::secret")]
        input: SecretBytes,
    },
    /// RSAES-OAEP with the private half. Answered by [`Answer::Plaintext`].
    Decrypt {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// Which OAEP.
        algorithm: EncryptionAlgorithm,
        /// The ciphertext.
        #[serde(with = "wire::bytes")]
        ciphertext: Vec<u8>,
    },
    /// Signs. Answered by [`Answer::Bytes`], encoded as AWS does.
    Sign {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// How.
        algorithm: SigningAlgorithm,
        /// What [`SigningAlgorithm::input`] gives of the message.
        #[serde(with = "wire::bytes")]
        input: Vec<u8>,
    },
    /// Verifies what `Sign` made, with the public half. Answered by [`Answer::Done`]; `Rejected` if it is not right.
    Verify {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// How it was signed.
        algorithm: SigningAlgorithm,
        /// What [`SigningAlgorithm::input`] gives of the message.
        #[serde(with = "wire::bytes")]
        input: Vec<u8>,
        /// The signature.
        #[serde(with = "wire::bytes")]
        signature: Vec<u8>,
    },
    /// HMAC. Answered by [`Answer::Bytes`].
    Mac {
        /// The HMAC key.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// Which HMAC.
        algorithm: MacAlgorithm,
        /// The message.
        #[serde(with = "wire::secret")]
        input: SecretBytes,
    },
    /// Compares with the HMAC that `Mac` makes. Answered by [`Answer::Done`]; `Rejected` if it is another.
    VerifyMac {
        /// The HMAC key.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// Which HMAC.
        algorithm: MacAlgorithm,
        /// The message.
        #[serde(with = "wire::secret")]
        input: SecretBytes,
        /// The MAC.
        #[serde(with = "wire::bytes")]
        mac: Vec<u8>,
    },
    /// ECDH without a key derivation function. Answered by [`Answer::Plaintext`]; `Rejected` if the other key is no point of
    /// the curve.
    Agree {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// The other's public key, as DER SubjectPublicKeyInfo.
        #[serde(with = "wire::bytes")]
        public_key: Vec<u8>,
    },
    /// ML-KEM with the public half. Answered by [`Answer::Encapsulated`].
    Encapsulate {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
    },
    /// ML-KEM with the private half. Answered by [`Answer::Plaintext`]; `Rejected` if the length is wrong.
    Decapsulate {
        /// The key pair.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
        /// What `Encapsulate` made.
        #[serde(with = "wire::bytes")]
        ciphertext: Vec<u8>,
    },
    /// Makes the RSA key pair under whose public half material comes that is to be imported. Wrapped as it is, anybody may keep
    /// it. Answered by [`Answer::Material`].
    GenerateCarrier {
        /// RSA, of what length.
        spec: KeySpec,
    },
    /// Takes in material that others have made. Answered by [`Answer::Imported`]; `Rejected` if it does not unwrap, `Unfit` if
    /// it is not of the spec.
    Import {
        /// What `GenerateCarrier` made.
        #[serde(with = "wire::material")]
        carrier: Arc<Material>,
        /// How the material is encrypted.
        algorithm: WrappingAlgorithm,
        /// The encrypted material.
        #[serde(with = "wire::bytes")]
        blob: Vec<u8>,
        /// What kind of key it is to be.
        spec: KeySpec,
        /// What it is for.
        usage: KeyUsage,
        /// Where it is to be kept.
        place: Place,
    },
    /// Makes a key pair that is for the caller, not for the HSM. Answered by [`Answer::Pair`].
    GeneratePair {
        /// What kind of pair.
        spec: KeySpec,
    },
    /// RSAES-OAEP with SHA-256 under a public key that is nobody's here. Answered by [`Answer::Bytes`].
    EncryptFor {
        /// The public key: DER SubjectPublicKeyInfo.
        #[serde(with = "wire::bytes")]
        public_key: Vec<u8>,
        /// The plaintext.
        #[serde(with = "wire::secret")]
        input: SecretBytes,
    },
    /// Random bytes of the HSM's generator. Answered by [`Answer::Plaintext`].
    Random {
        /// How many.
        len: usize,
    },
    /// Makes new key material, and answers only after it has been seen to work. Answered by [`Answer::Material`].
    Generate {
        /// The name the material is to have.
        id: MaterialId,
        /// What kind of key.
        spec: KeySpec,
        /// What it is for.
        usage: KeyUsage,
        /// Where it is to be kept.
        place: Place,
    },
    /// Destroys the token object and sees that it is gone, or forgets the handle of wrapped material. Answered by
    /// [`Answer::Done`], also when there was nothing left to destroy.
    Destroy {
        /// What is to go.
        #[serde(with = "wire::material")]
        material: Arc<Material>,
    },
    /// Logs in on a new session and takes no handle of before for good any more: an HSM that was away may have other objects
    /// under the old numbers. Answered by [`Answer::Done`].
    Renew,
    /// Decrypts a known answer under a key of this process: is the HSM well? Answered by [`Answer::Done`].
    Check,
}

/// Where new material is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Outside the HSM, wrapped under the wrapping key.
    Wrapped,
    /// On the HSM, as a token object.
    Token {
        /// The random CKA_ID under which it will be found again; recorded by the caller before the command is sent.
        cka_id: [u8; 16],
    },
}

/// What a command answers.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    /// Of `Seal`.
    Sealed(Sealed),
    /// Of `SealRandom`.
    SealedRandom {
        /// The random bytes.
        #[serde(with = "wire::secret")]
        plaintext: SecretBytes,
        /// The same, sealed.
        sealed: Sealed,
    },
    /// Of `Open`, `Decrypt`, `Agree`, `Decapsulate` and `Random`.
    Plaintext(#[serde(with = "wire::secret")] SecretBytes),
    /// Of `Encrypt`, `EncryptFor`, `Sign` and `Mac`.
    Bytes(#[serde(with = "wire::bytes")] Vec<u8>),
    /// Of `Import`.
    Imported {
        /// The material; its name is the caller's to give.
        #[serde(with = "wire::material")]
        material: Material,
        /// The same whenever the same material comes again, and says nothing of it.
        fingerprint: [u8; 32],
    },
    /// Of `Generate` and `GenerateCarrier`.
    Material(#[serde(with = "wire::material")] Material),
    /// Of `Encapsulate`.
    Encapsulated {
        /// What both sides come to.
        #[serde(with = "wire::secret")]
        secret: SecretBytes,
        /// What the holder of the private key comes to it by.
        #[serde(with = "wire::bytes")]
        ciphertext: Vec<u8>,
    },
    /// Of `GeneratePair`.
    Pair {
        /// The public key, as DER SubjectPublicKeyInfo.
        #[serde(with = "wire::bytes")]
        public_key: Vec<u8>,
        /// The private key, as DER PKCS#8 (RFC 5958).
        #[serde(with = "wire::secret")]
        private_key: SecretBytes,
    },
    /// Of `Verify`, `VerifyMac`, `Destroy`, `Renew` and `Check`.
    Done,
}

impl Answer {
    /// The same, made by the HSM of this name: an object on it is to be found again.
    pub(super) fn made_by(mut self, name: &str) -> Self {
        if let Self::Material(Material { keeping: Keeping::Token { member, .. }, .. })
        | Self::Imported { material: Material { keeping: Keeping::Token { member, .. }, .. }, .. } = &mut self
        {
            *member = Some(name.to_owned());
        }
        self
    }
}

/// An AES-256-GCM ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The IV it was made with.
    pub iv: [u8; 12],
    /// The ciphertext, followed by the 16-byte tag.
    #[serde(with = "wire::bytes")]
    pub ciphertext: Vec<u8>,
}

impl Command {
    /// The material that it is about; what `Generate` makes is not there yet.
    pub(super) fn material(&self) -> Option<&Material> {
        match self {
            Self::Seal { material, .. } | Self::SealRandom { material, .. } | Self::Open { material, .. } => {
                Some(material)
            }
            Self::Encrypt { material, .. } | Self::Decrypt { material, .. } | Self::Destroy { material } => {
                Some(material)
            }
            Self::Sign { material, .. } | Self::Verify { material, .. } | Self::Agree { material, .. } => {
                Some(material)
            }
            Self::Mac { material, .. } | Self::VerifyMac { material, .. } => Some(material),
            Self::Import { carrier, .. } => Some(carrier),
            Self::GenerateCarrier { .. } => None,
            Self::Encapsulate { material } | Self::Decapsulate { material, .. } => Some(material),
            Self::EncryptFor { .. } | Self::Random { .. } => None,
            Self::Generate { .. } | Self::GeneratePair { .. } | Self::Renew | Self::Check => None,
        }
    }

    /// Whether doing it twice is the same as doing it once, as far as the HSM's objects are concerned.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::Generate { place: Place::Token { .. }, .. } | Self::Import { place: Place::Token { .. }, .. }
        )
    }
}
