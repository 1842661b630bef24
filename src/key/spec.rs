//! The one table of key spec × key usage × algorithm × size (AWS KMS: CreateKey, "KeySpec" and "KeyUsage").
//!
//! The order of an algorithm list is the order AWS answers it in; clients take element 0.

use crate::aws_names::aws_enum;

aws_enum! {
    /// KeySpec: the kind of key material that a KMS key has.
    KeySpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        Hmac224 = "HMAC_224",
        Hmac256 = "HMAC_256",
        Hmac384 = "HMAC_384",
        Hmac512 = "HMAC_512",
        Sm2 = "SM2",
        MlDsa44 = "ML_DSA_44",
        MlDsa65 = "ML_DSA_65",
        MlDsa87 = "ML_DSA_87",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        MlKem512 = "ML_KEM_512",
        MlKem768 = "ML_KEM_768",
        MlKem1024 = "ML_KEM_1024",
    }
}

aws_enum! {
    /// KeyUsage: the operations that a KMS key is for; fixed when the key is made.
    KeyUsage {
        SignVerify = "SIGN_VERIFY",
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        KeyAgreement = "KEY_AGREEMENT",
        EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE",
    }
}

aws_enum! {
    /// An algorithm of Encrypt and Decrypt.
    EncryptionAlgorithm {
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        Sm2pke = "SM2PKE",
        SymmetricDefault = "SYMMETRIC_DEFAULT",
    }
}

/// The largest plaintext of Encrypt under a symmetric key, in bytes (AWS KMS: Encrypt, "Plaintext").
pub const MAX_PLAINTEXT_BYTES: usize = 4096;

impl KeySpec {
    /// The usages a key of this spec may be made for.
    pub fn usages(self) -> &'static [KeyUsage] {
        use KeyUsage::*;
        match self {
            Self::SymmetricDefault => &[EncryptDecrypt],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[EncryptDecrypt, SignVerify],
            Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 => &[SignVerify, KeyAgreement],
            Self::EccSecgP256k1 | Self::EccNistEdwards25519 => &[SignVerify],
            Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => &[GenerateVerifyMac],
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => &[SignVerify],
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => &[EncapsulateDecapsulate],
            Self::Sm2 => &[EncryptDecrypt, SignVerify, KeyAgreement],
        }
    }

    /// Length of the RSA modulus in bits; `None` for every other kind of key.
    pub fn modulus_bits(self) -> Option<u32> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }

    /// The curve of an ECDSA or ECDH key.
    pub fn curve(self) -> Option<Curve> {
        match self {
            Self::EccNistP256 => Some(Curve::P256),
            Self::EccNistP384 => Some(Curve::P384),
            Self::EccNistP521 => Some(Curve::P521),
            Self::EccSecgP256k1 => Some(Curve::Secp256k1),
            _ => None,
        }
    }

    /// Length of an HMAC key that is made here, and of its MACs, in bytes.
    pub fn mac_bytes(self) -> Option<usize> {
        match self {
            Self::Hmac224 => Some(28),
            Self::Hmac256 => Some(32),
            Self::Hmac384 => Some(48),
            Self::Hmac512 => Some(64),
            _ => None,
        }
    }

    /// Lengths in bytes that imported material of a secret key may have.
    pub fn imported_bytes(self) -> Option<std::ops::RangeInclusive<usize>> {
        match self {
            Self::SymmetricDefault => Some(32..=32),
            Self::Hmac224 => Some(28..=64),
            Self::Hmac256 => Some(32..=64),
            Self::Hmac384 => Some(48..=128),
            Self::Hmac512 => Some(64..=128),
            _ => None,
        }
    }

    /// True if the key has a public half that GetPublicKey answers.
    pub fn is_asymmetric(self) -> bool {
        self.class() == KeyClass::Asymmetric
    }

    /// The class that UpdateAlias compares.
    pub fn class(self) -> KeyClass {
        match self {
            Self::SymmetricDefault => KeyClass::Symmetric,
            Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => KeyClass::Hmac,
            _ => KeyClass::Asymmetric,
        }
    }

    /// Encryption algorithms of an ENCRYPT_DECRYPT key of this spec, in AWS's order.
    pub fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        use EncryptionAlgorithm::*;
        match self {
            Self::SymmetricDefault => &[SymmetricDefault],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[RsaesOaepSha1, RsaesOaepSha256],
            Self::Sm2 => &[Sm2pke],
            _ => &[],
        }
    }

    /// The largest plaintext that `algorithm` takes under a key of this spec, in bytes; `None` if the two do not fit.
    ///
    /// For RSAES-OAEP this is k − 2·hLen − 2 (RFC 8017 section 7.1.1).
    pub fn max_plaintext_bytes(self, algorithm: EncryptionAlgorithm) -> Option<usize> {
        if !self.encryption_algorithms().contains(&algorithm) {
            return None;
        }
        match (self.modulus_bits(), algorithm) {
            (None, EncryptionAlgorithm::SymmetricDefault) => Some(MAX_PLAINTEXT_BYTES),
            (Some(bits), EncryptionAlgorithm::RsaesOaepSha1) => Some(bits as usize / 8 - 2 * 20 - 2),
            (Some(bits), EncryptionAlgorithm::RsaesOaepSha256) => Some(bits as usize / 8 - 2 * 32 - 2),
            _ => None,
        }
    }
}

/// A curve over a prime field (SEC 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256, secp256r1.
    P256,
    /// NIST P-384, secp384r1.
    P384,
    /// NIST P-521, secp521r1.
    P521,
    /// secp256k1.
    Secp256k1,
}

impl Curve {
    /// Length of a coordinate, and of half a signature, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// Symmetric, asymmetric or HMAC: an alias may move only within one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// SYMMETRIC_DEFAULT.
    Symmetric,
    /// A key pair.
    Asymmetric,
    /// An HMAC key.
    Hmac,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oaep_limits_are_those_of_aws() {
        let limits = |spec: KeySpec| {
            spec.encryption_algorithms().iter().filter_map(|a| spec.max_plaintext_bytes(*a)).collect::<Vec<_>>()
        };
        assert_eq!(limits(KeySpec::Rsa2048), [214, 190]);
        assert_eq!(limits(KeySpec::Rsa3072), [342, 318]);
        assert_eq!(limits(KeySpec::Rsa4096), [470, 446]);
        assert_eq!(limits(KeySpec::SymmetricDefault), [4096]);
    }

    #[test]
    fn words_go_both_ways() {
        for spec in KeySpec::ALL {
            assert_eq!(KeySpec::from_name(spec.as_str()), Some(*spec));
        }
    }
}
