//! The one table from our algorithms to PKCS#11 mechanisms, and the templates of every object that we make.

use cryptoki::error::Error;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::types::Ulong;
use cryptoki_sys::{
    CK_MECHANISM_TYPE, CKM_AES_GCM, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, CKM_RSA_PKCS_OAEP, CKM_RSA_X_509,
};

use serde::{Deserialize, Serialize};

use super::public_key::RsaPublicKey;

/// Length of a GCM tag in bytes.
pub(super) const TAG_BYTES: usize = 16;

/// Length of an AES-256 key in bytes.
const AES_BYTES: u64 = 32;

/// The hash of an RSAES-OAEP; its MGF1 has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hsm) enum OaepHash {
    Sha1,
    Sha256,
}

impl OaepHash {
    /// The mechanism of an OAEP without label, which the token pads itself.
    pub(super) fn mechanism(self) -> Mechanism<'static> {
        let (hash, mgf) = match self {
            Self::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        };
        Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()))
    }

    /// The longest plaintext under a modulus of `k` bytes (RFC 8017 section 7.1.1).
    pub(super) fn max_plaintext_bytes(self, k: usize) -> usize {
        let hash_bytes = match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        k.saturating_sub(2 * hash_bytes + 2)
    }
}

/// AES-GCM with a 96-bit IV and a 128-bit tag.
pub(super) fn gcm<'a>(iv: &'a mut [u8; 12], aad: &'a [u8]) -> Result<Mechanism<'a>, Error> {
    let tag_bits = Ulong::from(8 * TAG_BYTES as u64);
    Ok(Mechanism::AesGcm(GcmParams::new(iv, aad, tag_bits)?))
}

/// Why an object with a secret in it exists, which decides whether it is stored and whether it may leave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Life<'a> {
    /// Made a moment ago, to be wrapped at once and destroyed: the only objects of ours that may be extracted.
    Passing,
    /// Unwrapped to be used; may not be extracted again.
    Leased,
    /// Stays on the token; may not be extracted.
    Token { cka_id: &'a [u8], label: &'a str },
    /// Stays on the token; may be extracted, but only under a key that the security officer has trusted.
    Shared { cka_id: &'a [u8], label: &'a str },
}

impl Life<'_> {
    fn attributes(self) -> Vec<Attribute> {
        let stored = matches!(self, Self::Token { .. } | Self::Shared { .. });
        let mut attributes = vec![
            Attribute::Token(stored),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(matches!(self, Self::Passing | Self::Shared { .. })),
        ];
        if let Self::Shared { .. } = self {
            attributes.push(Attribute::WrapWithTrusted(true));
        }
        if let Self::Token { cka_id, label } | Self::Shared { cka_id, label } = self {
            attributes.push(Attribute::Id(cka_id.to_vec()));
            attributes.push(Attribute::Label(label.as_bytes().to_vec()));
        }
        attributes
    }
}

/// The mechanisms that each kind of key is used with, to be written into its template as CKA_ALLOWED_MECHANISMS. An empty
/// list is not written: an HSM that does not honour the attribute gets templates without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) aes: &'static [CK_MECHANISM_TYPE],
    pub(super) rsa: &'static [CK_MECHANISM_TYPE],
    pub(super) wrapping: &'static [CK_MECHANISM_TYPE],
}

/// What an AES key is used with.
pub(super) const FOR_AES: &[CK_MECHANISM_TYPE] = &[CKM_AES_GCM];

/// What an RSA key that decrypts is used with.
pub(super) const FOR_RSA: &[CK_MECHANISM_TYPE] = &[CKM_RSA_PKCS_OAEP];

/// The same, where RSAES_OAEP_SHA_256 is done with raw RSA.
pub(super) const FOR_RAW_RSA: &[CK_MECHANISM_TYPE] = &[CKM_RSA_PKCS_OAEP, CKM_RSA_X_509];

/// What a wrapping key may ever be used with. Both, because it outlives the firmware that has one of them.
pub(super) const FOR_WRAPPING: &[CK_MECHANISM_TYPE] = &[CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD];

/// As bytes, because `cryptoki` has no name for KWP and takes no mechanism that it has no name for.
fn allowed_mechanisms(list: &[CK_MECHANISM_TYPE]) -> Option<Attribute> {
    let bytes = || list.iter().flat_map(|mechanism| mechanism.to_ne_bytes()).collect();
    (!list.is_empty()).then(|| Attribute::VendorDefined((AttributeType::AllowedMechanisms, bytes())))
}

/// An AES-256 key that encrypts and decrypts, to be generated.
pub(super) fn aes_to_generate(life: Life<'_>, allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = life.attributes();
    attributes.extend(allowed_mechanisms(allowed.aes));
    attributes.push(Attribute::ValueLen(Ulong::from(AES_BYTES)));
    attributes.extend(only([Attribute::Encrypt(true), Attribute::Decrypt(true)], SECRET_USES));
    attributes
}

/// The same, to be unwrapped. No CKA_VALUE_LEN: SoftHSM2 refuses it here (CKR_ATTRIBUTE_READ_ONLY).
pub(super) fn aes_to_unwrap(allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    attributes.extend(Life::Leased.attributes());
    attributes.extend(allowed_mechanisms(allowed.aes));
    attributes.extend(only([Attribute::Encrypt(true), Attribute::Decrypt(true)], SECRET_USES));
    attributes
}

/// An AES-256 key that wraps and unwraps and does nothing else: a key that could also decrypt would turn a wrapped key
/// into a plaintext.
pub(super) fn wrapping_key(life: Life<'_>, allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = life.attributes();
    attributes.extend(allowed_mechanisms(allowed.wrapping));
    attributes.push(Attribute::ValueLen(Ulong::from(AES_BYTES)));
    attributes.extend(only([Attribute::Wrap(true), Attribute::Unwrap(true)], SECRET_USES));
    attributes
}

/// The same, to be unwrapped. No CKA_VALUE_LEN, as for [`aes_to_unwrap`].
pub(super) fn wrapping_key_to_unwrap(life: Life<'_>, allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    attributes.extend(life.attributes());
    attributes.extend(allowed_mechanisms(allowed.wrapping));
    attributes.extend(only([Attribute::Wrap(true), Attribute::Unwrap(true)], SECRET_USES));
    attributes
}

/// The private half of the pair under which a wrapping key comes to this HSM: unwraps, and does nothing else.
pub(super) fn joining_private_to_generate(cka_id: &[u8]) -> Vec<Attribute> {
    let mut attributes = Life::Token { cka_id, label: JOIN_LABEL }.attributes();
    attributes.extend(only([Attribute::Unwrap(true)], PRIVATE_USES));
    attributes
}

/// Its public half.
pub(super) fn joining_public_to_generate(modulus_bits: u32) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Token(false),
        Attribute::ModulusBits(Ulong::from(u64::from(modulus_bits))),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    attributes.extend(only([Attribute::Wrap(true)], PUBLIC_USES));
    attributes
}

/// Its public half as the other HSM gets it. Only the security officer may make it, because it is trusted. A session object:
/// whatever happens, it is gone with its session.
pub(super) fn joining_public_to_create(key: &RsaPublicKey) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Modulus(key.modulus.clone()),
        Attribute::PublicExponent(key.exponent.clone()),
        Attribute::Trusted(true),
    ];
    attributes.extend(only([Attribute::Wrap(true)], PUBLIC_USES));
    attributes
}

/// What finds the private halves of such pairs.
pub(super) fn joining_private() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Label(JOIN_LABEL.as_bytes().to_vec()),
    ]
}

/// The private half of an RSA key pair that decrypts, to be generated. A raw decryption is also a raw signature, so the
/// other uses are refused by name.
pub(super) fn rsa_private_to_generate(life: Life<'_>, allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = life.attributes();
    attributes.extend(allowed_mechanisms(allowed.rsa));
    attributes.extend(only([Attribute::Decrypt(true)], PRIVATE_USES));
    attributes
}

/// The same, to be unwrapped.
pub(super) fn rsa_private_to_unwrap(allowed: Allowed) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::RSA)];
    attributes.extend(Life::Leased.attributes());
    attributes.extend(allowed_mechanisms(allowed.rsa));
    attributes.extend(only([Attribute::Decrypt(true)], PRIVATE_USES));
    attributes
}

/// The public half of a key pair to be generated: always a session object, because we keep it ourselves.
pub(super) fn rsa_public_to_generate(modulus_bits: u32) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Token(false),
        Attribute::ModulusBits(Ulong::from(u64::from(modulus_bits))),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    attributes.extend(only([Attribute::Encrypt(true)], PUBLIC_USES));
    attributes
}

/// A public key that is put into the HSM to encrypt with.
pub(super) fn rsa_public_to_create(key: &RsaPublicKey) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(false),
        Attribute::Modulus(key.modulus.clone()),
        Attribute::PublicExponent(key.exponent.clone()),
    ];
    attributes.extend(only([Attribute::Encrypt(true)], PUBLIC_USES));
    attributes
}

/// What finds a secret or private key on the token by its id.
pub(super) fn token_object(class: ObjectClass, cka_id: &[u8]) -> Vec<Attribute> {
    vec![Attribute::Class(class), Attribute::Token(true), Attribute::Id(cka_id.to_vec())]
}

/// What finds the token objects that a probe was killed over: its label, and AES keys that encrypt and decrypt and do
/// nothing else. A wrapping key is none of them, whatever its label.
pub(super) fn left_by_a_probe() -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(PROBE_LABEL.as_bytes().to_vec()),
    ];
    attributes.extend(only([Attribute::Encrypt(true), Attribute::Decrypt(true)], SECRET_USES));
    attributes
}

/// CKA_LABEL of the token object that the probe makes and destroys. Our keys are labelled with their ids in hexadecimal.
pub(super) const PROBE_LABEL: &str = "strongroom probe";

/// CKA_LABEL of the pair under which a wrapping key comes to an HSM.
const JOIN_LABEL: &str = "strongroom join";

/// Some modules, SoftHSM2 among them, allow every use that a template does not speak of; so ours speak of each.
const SECRET_USES: &[Attribute] = &[
    Attribute::Encrypt(false),
    Attribute::Decrypt(false),
    Attribute::Sign(false),
    Attribute::Verify(false),
    Attribute::Wrap(false),
    Attribute::Unwrap(false),
    Attribute::Derive(false),
];

const PRIVATE_USES: &[Attribute] = &[
    Attribute::Decrypt(false),
    Attribute::Sign(false),
    Attribute::SignRecover(false),
    Attribute::Unwrap(false),
    Attribute::Derive(false),
];

const PUBLIC_USES: &[Attribute] =
    &[Attribute::Encrypt(false), Attribute::Verify(false), Attribute::VerifyRecover(false), Attribute::Wrap(false)];

/// The allowed uses, and all others refused.
fn only<const N: usize>(allowed: [Attribute; N], all: &[Attribute]) -> Vec<Attribute> {
    let is_allowed = |other: &Attribute| allowed.iter().any(|a| a.attribute_type() == other.attribute_type());
    let refused: Vec<_> = all.iter().filter(|attribute| !is_allowed(attribute)).cloned().collect();
    allowed.into_iter().chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_key_can_do_nothing_else_and_an_rsa_key_cannot_sign() {
        let wrapping = wrapping_key(Life::Token { cka_id: &[1], label: "w" }, Allowed::default());
        assert!(wrapping.contains(&Attribute::Decrypt(false)) && wrapping.contains(&Attribute::Encrypt(false)));
        assert!(wrapping.contains(&Attribute::Extractable(false)) && wrapping.contains(&Attribute::Unwrap(true)));
        let shared = wrapping_key_to_unwrap(Life::Shared { cka_id: &[1], label: "w" }, Allowed::default());
        assert!(shared.contains(&Attribute::WrapWithTrusted(true)) && shared.contains(&Attribute::Decrypt(false)));
        assert!(rsa_private_to_unwrap(Allowed::default()).contains(&Attribute::Sign(false)));
        assert!(rsa_private_to_unwrap(Allowed::default()).contains(&Attribute::Extractable(false)));
    }

    #[test]
    fn only_what_is_to_be_wrapped_may_leave() {
        assert!(aes_to_generate(Life::Passing, Allowed::default()).contains(&Attribute::Extractable(true)));
        assert!(aes_to_unwrap(Allowed::default()).contains(&Attribute::Extractable(false)));
    }

    #[test]
    fn a_template_names_its_mechanisms_or_is_silent() {
        let named = |template: Vec<Attribute>| {
            let named = template.into_iter().find_map(|attribute| match attribute {
                Attribute::VendorDefined((AttributeType::AllowedMechanisms, bytes)) => Some(bytes),
                _ => None,
            });
            let words = |bytes: Vec<u8>| {
                bytes.chunks(8).map(|word| CK_MECHANISM_TYPE::from_ne_bytes(word.try_into().unwrap())).collect()
            };
            named.map(words).unwrap_or_else(Vec::new)
        };
        let allowed = Allowed { aes: FOR_AES, rsa: FOR_RAW_RSA, wrapping: FOR_WRAPPING };
        assert_eq!(named(aes_to_unwrap(allowed)), FOR_AES);
        assert_eq!(named(aes_to_generate(Life::Passing, allowed)), FOR_AES);
        assert_eq!(named(rsa_private_to_unwrap(allowed)), FOR_RAW_RSA);
        assert_eq!(named(rsa_private_to_generate(Life::Leased, allowed)), FOR_RAW_RSA);
        assert_eq!(named(wrapping_key(Life::Leased, allowed)), FOR_WRAPPING);
        assert!(named(rsa_private_to_unwrap(Allowed::default())).is_empty());
    }
}
