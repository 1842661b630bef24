//! The algorithms that each operation uses keys with, in AWS's words, and the part of a message that the HSM is given.

use std::fmt;

use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::aws_names::aws_enum;

use super::spec::{Curve, EncryptionAlgorithm, KeySpec, KeyUsage};

aws_enum! {
    /// An algorithm of Sign and Verify.
    SigningAlgorithm {
        RsassaPssSha256 = "RSASSA_PSS_SHA_256",
        RsassaPssSha384 = "RSASSA_PSS_SHA_384",
        RsassaPssSha512 = "RSASSA_PSS_SHA_512",
        RsassaPkcs1V15Sha256 = "RSASSA_PKCS1_V1_5_SHA_256",
        RsassaPkcs1V15Sha384 = "RSASSA_PKCS1_V1_5_SHA_384",
        RsassaPkcs1V15Sha512 = "RSASSA_PKCS1_V1_5_SHA_512",
        EcdsaSha256 = "ECDSA_SHA_256",
        EcdsaSha384 = "ECDSA_SHA_384",
        EcdsaSha512 = "ECDSA_SHA_512",
        Ed25519Sha512 = "ED25519_SHA_512",
        Ed25519PhSha512 = "ED25519_PH_SHA_512",
        Sm2dsa = "SM2DSA",
        MlDsaShake256 = "ML_DSA_SHAKE_256",
    }
}

aws_enum! {
    /// An algorithm of GenerateMac and VerifyMac.
    MacAlgorithm {
        HmacSha384 = "HMAC_SHA_384",
        HmacSha256 = "HMAC_SHA_256",
        HmacSha224 = "HMAC_SHA_224",
        HmacSha512 = "HMAC_SHA_512",
    }
}

aws_enum! {
    /// An algorithm of DeriveSharedSecret.
    KeyAgreementAlgorithm {
        Ecdh = "ECDH",
    }
}

aws_enum! {
    /// An algorithm of Encapsulate and Decapsulate.
    EncapsulationAlgorithm {
        MlKem = "ML_KEM",
    }
}

aws_enum! {
    /// How key material is encrypted that is to be imported.
    WrappingAlgorithm {
        RsaesPkcs1V15 = "RSAES_PKCS1_V1_5",
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        RsaAesKeyWrapSha1 = "RSA_AES_KEY_WRAP_SHA_1",
        RsaAesKeyWrapSha256 = "RSA_AES_KEY_WRAP_SHA_256",
        Sm2pke = "SM2PKE",
    }
}

aws_enum! {
    /// The key under which key material is encrypted that is to be imported.
    WrappingKeySpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        Sm2 = "SM2",
    }
}

impl WrappingKeySpec {
    /// The same key as a KMS key.
    pub fn key_spec(self) -> KeySpec {
        match self {
            Self::Rsa2048 => KeySpec::Rsa2048,
            Self::Rsa3072 => KeySpec::Rsa3072,
            Self::Rsa4096 => KeySpec::Rsa4096,
            Self::Sm2 => KeySpec::Sm2,
        }
    }
}

impl WrappingAlgorithm {
    /// True if AWS takes material of this spec so (AWS KMS: "Select a wrapping algorithm"): what RSA alone can carry is short,
    /// and a private key of P-521 is too long for RSA-2048.
    pub fn carries(self, spec: KeySpec, wrapping: WrappingKeySpec) -> bool {
        let by_rsa = matches!(self, Self::RsaesOaepSha1 | Self::RsaesOaepSha256);
        let by_aes = matches!(self, Self::RsaAesKeyWrapSha1 | Self::RsaAesKeyWrapSha256);
        if wrapping == WrappingKeySpec::Sm2 {
            return false;
        }
        match (spec.modulus_bits(), spec.curve(), spec) {
            (Some(_), _, _) => by_aes,
            (_, Some(Curve::P521), _) => by_aes || by_rsa && wrapping != WrappingKeySpec::Rsa2048,
            (_, Some(_), _) => by_aes || by_rsa,
            (_, _, KeySpec::SymmetricDefault) => by_aes || by_rsa,
            _ => spec.mac_bytes().is_some() && (by_aes || by_rsa),
        }
    }
}

aws_enum! {
    /// MessageType: Sign and Verify are given the message itself, or its digest.
    MessageType {
        Raw = "RAW",
        Digest = "DIGEST",
        ExternalMu = "EXTERNAL_MU",
    }
}

/// The algorithms of one kind of operation.
pub trait Algorithm: Copy + PartialEq + fmt::Display + Send + Sync + 'static {
    /// The key usage of the keys that they are used with.
    const USAGE: KeyUsage;

    /// Those of a key of this spec, in the order in which AWS lists them; clients take element 0.
    fn of(spec: KeySpec) -> &'static [Self];
}

impl Algorithm for EncryptionAlgorithm {
    const USAGE: KeyUsage = KeyUsage::EncryptDecrypt;

    fn of(spec: KeySpec) -> &'static [Self] {
        spec.encryption_algorithms()
    }
}

impl Algorithm for SigningAlgorithm {
    const USAGE: KeyUsage = KeyUsage::SignVerify;

    fn of(spec: KeySpec) -> &'static [Self] {
        use KeySpec::*;
        use SigningAlgorithm::*;
        match spec {
            Rsa2048 | Rsa3072 | Rsa4096 => &[
                RsassaPkcs1V15Sha256,
                RsassaPkcs1V15Sha384,
                RsassaPkcs1V15Sha512,
                RsassaPssSha256,
                RsassaPssSha384,
                RsassaPssSha512,
            ],
            EccNistP256 | EccSecgP256k1 => &[EcdsaSha256],
            EccNistP384 => &[EcdsaSha384],
            EccNistP521 => &[EcdsaSha512],
            EccNistEdwards25519 => &[Ed25519Sha512, Ed25519PhSha512],
            MlDsa44 | MlDsa65 | MlDsa87 => &[MlDsaShake256],
            Sm2 => &[Sm2dsa],
            _ => &[],
        }
    }
}

impl Algorithm for MacAlgorithm {
    const USAGE: KeyUsage = KeyUsage::GenerateVerifyMac;

    fn of(spec: KeySpec) -> &'static [Self] {
        match spec {
            KeySpec::Hmac224 => &[Self::HmacSha224],
            KeySpec::Hmac256 => &[Self::HmacSha256],
            KeySpec::Hmac384 => &[Self::HmacSha384],
            KeySpec::Hmac512 => &[Self::HmacSha512],
            _ => &[],
        }
    }
}

impl Algorithm for KeyAgreementAlgorithm {
    const USAGE: KeyUsage = KeyUsage::KeyAgreement;

    fn of(spec: KeySpec) -> &'static [Self] {
        match spec {
            KeySpec::EccNistP256 | KeySpec::EccNistP384 | KeySpec::EccNistP521 => &[Self::Ecdh],
            _ => &[],
        }
    }
}

impl Algorithm for EncapsulationAlgorithm {
    const USAGE: KeyUsage = KeyUsage::EncapsulateDecapsulate;

    fn of(spec: KeySpec) -> &'static [Self] {
        match spec {
            KeySpec::MlKem512 | KeySpec::MlKem768 | KeySpec::MlKem1024 => &[Self::MlKem],
            _ => &[],
        }
    }
}

/// A hash that is made of a message before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of a digest, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of a message.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// Why a message cannot be signed as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsignable {
    /// It is not as long as what the message type says it is.
    Length,
    /// The algorithm takes no message of this type.
    Type,
}

/// Length of ML-DSA's μ, in bytes (FIPS 204 section 6.2).
const MU_BYTES: usize = 64;

impl SigningAlgorithm {
    /// True if every HSM that has keys of its specs signs so. Many sign by Ed25519 and not by Ed25519ph.
    pub fn is_of_every_hsm(self) -> bool {
        self != Self::Ed25519PhSha512
    }

    /// The hash whose digest is what is signed; none where the algorithm takes a message whole.
    pub fn hash(self) -> Option<Hash> {
        use SigningAlgorithm::*;
        match self {
            RsassaPssSha256 | RsassaPkcs1V15Sha256 | EcdsaSha256 => Some(Hash::Sha256),
            RsassaPssSha384 | RsassaPkcs1V15Sha384 | EcdsaSha384 => Some(Hash::Sha384),
            RsassaPssSha512 | RsassaPkcs1V15Sha512 | EcdsaSha512 => Some(Hash::Sha512),
            Sm2dsa | MlDsaShake256 | Ed25519Sha512 | Ed25519PhSha512 => None,
        }
    }

    /// The bytes that the HSM is to sign: the digest, or the message where the algorithm takes it whole.
    ///
    /// # Errors
    /// If the message is not of a type, or not of the length, that this algorithm takes.
    pub fn input(self, message_type: MessageType, message: &[u8]) -> Result<Vec<u8>, Unsignable> {
        use MessageType::*;
        let of_length = |bytes| if message.len() == bytes { Ok(message.to_vec()) } else { Err(Unsignable::Length) };
        match (self.hash(), message_type, self) {
            (Some(hash), Raw, _) => Ok(hash.digest(message)),
            (Some(hash), Digest, _) => of_length(hash.bytes()),
            (None, Raw, Self::Ed25519Sha512 | Self::MlDsaShake256) => Ok(message.to_vec()),
            // Ed25519ph hashes once more: its message is the digest that the caller has made.
            (None, Digest, Self::Ed25519PhSha512) => of_length(Hash::Sha512.bytes()),
            (None, ExternalMu, Self::MlDsaShake256) => of_length(MU_BYTES),
            _ => Err(Unsignable::Type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_of_some_spec_and_of_its_usage_only() {
        for spec in KeySpec::ALL {
            let usages = [
                (KeyUsage::EncryptDecrypt, EncryptionAlgorithm::of(*spec).len()),
                (KeyUsage::SignVerify, SigningAlgorithm::of(*spec).len()),
                (KeyUsage::GenerateVerifyMac, MacAlgorithm::of(*spec).len()),
                (KeyUsage::EncapsulateDecapsulate, EncapsulationAlgorithm::of(*spec).len()),
            ];
            for (usage, count) in usages {
                assert_eq!(count > 0, spec.usages().contains(&usage), "{spec} {usage}");
            }
        }
    }

    #[test]
    fn a_raw_message_is_hashed_and_a_digest_is_taken_as_it_is() {
        let algorithm = SigningAlgorithm::EcdsaSha256;
        let digest = Sha256::digest(b"message").to_vec();
        assert_eq!(algorithm.input(MessageType::Raw, b"message"), Ok(digest.clone()));
        assert_eq!(algorithm.input(MessageType::Digest, &digest), Ok(digest.clone()));
        assert_eq!(algorithm.input(MessageType::Digest, &digest[1..]), Err(Unsignable::Length));
        assert_eq!(algorithm.input(MessageType::ExternalMu, &[0; 64]), Err(Unsignable::Type));
    }

    #[test]
    fn ed25519_and_ml_dsa_take_messages_whole() {
        use SigningAlgorithm::{Ed25519PhSha512, Ed25519Sha512, MlDsaShake256};
        assert_eq!(Ed25519Sha512.input(MessageType::Raw, b"m"), Ok(b"m".to_vec()));
        assert_eq!(Ed25519Sha512.input(MessageType::Digest, &[0; 64]), Err(Unsignable::Type));
        assert_eq!(Ed25519PhSha512.input(MessageType::Digest, &[1; 64]), Ok(vec![1; 64]));
        assert_eq!(Ed25519PhSha512.input(MessageType::Raw, b"m"), Err(Unsignable::Type));
        assert_eq!(MlDsaShake256.input(MessageType::ExternalMu, &[1; 64]), Ok(vec![1; 64]));
        assert_eq!(MlDsaShake256.input(MessageType::ExternalMu, &[1; 63]), Err(Unsignable::Length));
    }
}
