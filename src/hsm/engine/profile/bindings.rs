//! The mechanisms that our keys are bound to: what each kind of key is used with (CKA_ALLOWED_MECHANISMS).

use std::fmt;

use cryptoki_sys::{
    CK_MECHANISM_TYPE, CKM_AES_CBC, CKM_AES_GCM, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, CKM_ECDH1_DERIVE,
    CKM_ECDSA, CKM_EDDSA, CKM_ML_DSA, CKM_ML_KEM, CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS_PSS, CKM_RSA_X_509,
    CKM_SHA224_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC, CKM_SHA512_HMAC,
};

use crate::key::spec::{KeySpec, KeyUsage};

/// Key spec and usage of an object: they decide class, type, length and uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) struct Nature {
    pub(in crate::hsm) spec: KeySpec,
    pub(in crate::hsm) usage: KeyUsage,
}

/// An AES-256 key that encrypts and decrypts.
pub(in crate::hsm) const AES: Nature = Nature { spec: KeySpec::SymmetricDefault, usage: KeyUsage::EncryptDecrypt };

/// An RSA-2048 key that decrypts.
pub(in crate::hsm) const RSA: Nature = Nature { spec: KeySpec::Rsa2048, usage: KeyUsage::EncryptDecrypt };

/// The mechanisms that each kind of key is used with, to be written into its template as CKA_ALLOWED_MECHANISMS. An empty
/// list is not written: an HSM that does not honour the attribute gets templates without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::hsm) struct AllowedMechanisms {
    pub(in crate::hsm) aes: &'static [CK_MECHANISM_TYPE],
    pub(in crate::hsm) rsa: &'static [CK_MECHANISM_TYPE],
    pub(in crate::hsm) wrapping: &'static [CK_MECHANISM_TYPE],
    /// Keys that do anything but encrypt.
    pub(in crate::hsm) others: Binding,
}

/// The mechanisms to which keys are bound that do anything but encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::hsm) enum Binding {
    /// Nothing.
    #[default]
    Free,
    /// The mechanisms that they are used with.
    Bound,
    /// A mechanism that they are not used with: how the probe sees whether a binding holds.
    Misbound,
}

impl AllowedMechanisms {
    pub(in crate::hsm) fn of(self, nature: Nature) -> &'static [CK_MECHANISM_TYPE] {
        match (nature.usage, nature.spec, self.others) {
            (KeyUsage::EncryptDecrypt, KeySpec::SymmetricDefault, _) => self.aes,
            (KeyUsage::EncryptDecrypt, ..) => self.rsa,
            (_, _, Binding::Free) => &[],
            (_, _, Binding::Bound) => used_with(nature),
            (_, _, Binding::Misbound) => &[CKM_AES_CBC],
        }
    }
}

/// The mechanisms of keys that do anything but encrypt.
fn used_with(Nature { spec, usage }: Nature) -> &'static [CK_MECHANISM_TYPE] {
    use KeySpec::*;
    match (usage, spec) {
        (KeyUsage::SignVerify, Rsa2048 | Rsa3072 | Rsa4096) => &[CKM_RSA_PKCS, CKM_RSA_PKCS_PSS],
        (KeyUsage::SignVerify, EccNistP256 | EccNistP384 | EccNistP521 | EccSecgP256k1) => &[CKM_ECDSA],
        (KeyUsage::SignVerify, EccNistEdwards25519) => &[CKM_EDDSA],
        (KeyUsage::SignVerify, MlDsa44 | MlDsa65 | MlDsa87) => &[CKM_ML_DSA],
        (KeyUsage::GenerateVerifyMac, Hmac224) => &[CKM_SHA224_HMAC],
        (KeyUsage::GenerateVerifyMac, Hmac256) => &[CKM_SHA256_HMAC],
        (KeyUsage::GenerateVerifyMac, Hmac384) => &[CKM_SHA384_HMAC],
        (KeyUsage::GenerateVerifyMac, Hmac512) => &[CKM_SHA512_HMAC],
        (KeyUsage::KeyAgreement, _) => &[CKM_ECDH1_DERIVE],
        (KeyUsage::EncapsulateDecapsulate, _) => &[CKM_ML_KEM],
        _ => &[],
    }
}

/// The mechanisms of an AES key.
pub(in crate::hsm) const FOR_AES: &[CK_MECHANISM_TYPE] = &[CKM_AES_GCM];

/// The mechanisms of an RSA key that decrypts.
pub(in crate::hsm) const FOR_RSA: &[CK_MECHANISM_TYPE] = &[CKM_RSA_PKCS_OAEP];

/// The same, where RSAES_OAEP_SHA_256 is done with raw RSA.
pub(in crate::hsm) const FOR_RAW_RSA: &[CK_MECHANISM_TYPE] = &[CKM_RSA_PKCS_OAEP, CKM_RSA_X_509];

/// The mechanisms of a wrapping key. Both, because it outlives the firmware that has one of them.
pub(in crate::hsm) const FOR_WRAPPING: &[CK_MECHANISM_TYPE] = &[CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD];

impl fmt::Display for AllowedMechanisms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("AES", !self.aes.is_empty()),
            ("RSA", !self.rsa.is_empty()),
            ("wrapping", !self.wrapping.is_empty()),
            ("all others", self.others == Binding::Bound),
        ];
        let bound: Vec<_> = kinds.iter().filter(|(_, is_bound)| *is_bound).map(|(kind, _)| *kind).collect();
        match bound.is_empty() {
            true => f.write_str("no: the HSM does not honour CKA_ALLOWED_MECHANISMS"),
            false => f.write_str(&bound.join(", ")),
        }
    }
}
