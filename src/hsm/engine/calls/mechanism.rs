//! The one table from our algorithms to PKCS#11 mechanisms.

use cryptoki::error::Error;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::types::Ulong;
use serde::{Deserialize, Serialize};

use crate::key::algorithm::{Hash, MacAlgorithm, SigningAlgorithm};
use crate::key::spec::KeySpec;

/// Length of a GCM tag in bytes.
pub(in crate::hsm) const TAG_BYTES: usize = 16;

/// The hash of an RSAES-OAEP; its MGF1 has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hsm) enum OaepHash {
    Sha1,
    Sha256,
}

impl OaepHash {
    /// The mechanism of an OAEP without label, which the token pads itself.
    pub(in crate::hsm) fn mechanism(self) -> Mechanism<'static> {
        let (hash, mgf) = match self {
            Self::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        };
        Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()))
    }

    /// The longest plaintext under a modulus of `k` bytes (RFC 8017 section 7.1.1).
    pub(in crate::hsm) fn max_plaintext_bytes(self, k: usize) -> usize {
        let hash_bytes = match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        k.saturating_sub(2 * hash_bytes + 2)
    }
}

/// AES-GCM with a 96-bit IV and a 128-bit tag.
pub(in crate::hsm) fn gcm<'a>(iv: &'a mut [u8; 12], aad: &'a [u8]) -> Result<Mechanism<'a>, Error> {
    let tag_bits = Ulong::from(8 * TAG_BYTES as u64);
    Ok(Mechanism::AesGcm(GcmParams::new(iv, aad, tag_bits)?))
}

/// The mechanism that generates a key of this spec: a secret key, or a pair.
pub(in crate::hsm) fn generation(spec: KeySpec) -> Mechanism<'static> {
    use KeySpec::*;
    match spec {
        SymmetricDefault => Mechanism::AesKeyGen,
        Hmac224 | Hmac256 | Hmac384 | Hmac512 => Mechanism::GenericSecretKeyGen,
        Rsa2048 | Rsa3072 | Rsa4096 => Mechanism::RsaPkcsKeyPairGen,
        EccNistP256 | EccNistP384 | EccNistP521 | EccSecgP256k1 | Sm2 => Mechanism::EccKeyPairGen,
        EccNistEdwards25519 => Mechanism::EccEdwardsKeyPairGen,
        MlDsa44 | MlDsa65 | MlDsa87 => Mechanism::MlDsaKeyPairGen,
        MlKem512 | MlKem768 | MlKem1024 => Mechanism::MlKemKeyPairGen,
    }
}

/// How a signature is made and verified of what [`SigningAlgorithm::input`] gives; none for SM2.
pub(in crate::hsm) fn signing(algorithm: SigningAlgorithm) -> Option<Mechanism<'static>> {
    use SigningAlgorithm::*;
    let eddsa = |scheme| Mechanism::Eddsa(EddsaParams::new(scheme));
    Some(match algorithm {
        RsassaPssSha256 => pss(Hash::Sha256),
        RsassaPssSha384 => pss(Hash::Sha384),
        RsassaPssSha512 => pss(Hash::Sha512),
        // The DigestInfo is ours, see `signing`.
        RsassaPkcs1V15Sha256 | RsassaPkcs1V15Sha384 | RsassaPkcs1V15Sha512 => Mechanism::RsaPkcs,
        EcdsaSha256 | EcdsaSha384 | EcdsaSha512 => Mechanism::Ecdsa,
        Ed25519Sha512 => eddsa(EddsaSignatureScheme::Ed25519),
        Ed25519PhSha512 => eddsa(EddsaSignatureScheme::Ed25519ph(&[])),
        MlDsaShake256 => Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None)),
        Sm2dsa => return None,
    })
}

/// RSASSA-PSS with a salt as long as the hash, and the same hash in MGF1.
fn pss(hash: Hash) -> Mechanism<'static> {
    let (hash_alg, mgf) = match hash {
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: Ulong::from(hash.bytes() as u64) })
}

/// HMAC, untruncated.
pub(in crate::hsm) fn mac(algorithm: MacAlgorithm) -> Mechanism<'static> {
    match algorithm {
        MacAlgorithm::HmacSha224 => Mechanism::Sha224Hmac,
        MacAlgorithm::HmacSha256 => Mechanism::Sha256Hmac,
        MacAlgorithm::HmacSha384 => Mechanism::Sha384Hmac,
        MacAlgorithm::HmacSha512 => Mechanism::Sha512Hmac,
    }
}
