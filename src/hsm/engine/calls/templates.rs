//! The templates of every object that we make or look for.

use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, MlKemParameterSetType, ObjectClass, ParameterSetType,
};
use cryptoki::types::Ulong;
use cryptoki_sys::CK_MECHANISM_TYPE;

use crate::key::spec::{KeySpec, KeyUsage};

use crate::hsm::engine::profile::bindings::{AllowedMechanisms, Nature};

use super::public_key::{PublicKey, RsaPublicKey, ec_params};

/// Length of an AES-256 key in bytes.
const AES_BYTES: u64 = 32;

/// Why an object with a secret in it exists, which decides whether it is stored and whether it may leave.
#[derive(Debug, Clone, Copy)]
pub(in crate::hsm) enum Lifetime<'a> {
    /// Made a moment ago, to be wrapped at once and destroyed: the only objects of ours that may be extracted.
    Temporary,
    /// Unwrapped to be used; may not be extracted again.
    Leased,
    /// Stays on the token; may not be extracted.
    Token { cka_id: &'a [u8], label: &'a str },
    /// Stays on the token; may be extracted, but only under a key that the security officer has trusted.
    Shared { cka_id: &'a [u8], label: &'a str },
}

impl Lifetime<'_> {
    fn attributes(self) -> Vec<Attribute> {
        let stored = matches!(self, Self::Token { .. } | Self::Shared { .. });
        let mut attributes = vec![
            Attribute::Token(stored),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(matches!(self, Self::Temporary | Self::Shared { .. })),
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

/// As bytes, because `cryptoki` has no name for KWP and takes no mechanism that it has no name for.
fn allowed_mechanisms(list: &[CK_MECHANISM_TYPE]) -> Option<Attribute> {
    let bytes = || list.iter().flat_map(|mechanism| mechanism.to_ne_bytes()).collect();
    (!list.is_empty()).then(|| Attribute::VendorDefined((AttributeType::AllowedMechanisms, bytes())))
}

/// The class of the secret half.
pub(in crate::hsm) fn class(spec: KeySpec) -> ObjectClass {
    match spec.is_asymmetric() {
        true => ObjectClass::PRIVATE_KEY,
        false => ObjectClass::SECRET_KEY,
    }
}

fn key_type(spec: KeySpec) -> KeyType {
    use KeySpec::*;
    match spec {
        SymmetricDefault => KeyType::AES,
        Hmac224 | Hmac256 | Hmac384 | Hmac512 => KeyType::GENERIC_SECRET,
        Rsa2048 | Rsa3072 | Rsa4096 => KeyType::RSA,
        EccNistP256 | EccNistP384 | EccNistP521 | EccSecgP256k1 | Sm2 => KeyType::EC,
        EccNistEdwards25519 => KeyType::EC_EDWARDS,
        MlDsa44 | MlDsa65 | MlDsa87 => KeyType::ML_DSA,
        MlKem512 | MlKem768 | MlKem1024 => KeyType::ML_KEM,
    }
}

/// The uses of the secret half. A raw decryption is also a raw signature, so every other use is refused by name.
fn secret_uses(Nature { spec, usage }: Nature) -> Vec<Attribute> {
    let all = if spec.is_asymmetric() { PRIVATE_USES } else { SECRET_USES };
    match usage {
        KeyUsage::EncryptDecrypt if spec.is_asymmetric() => only([Attribute::Decrypt(true)], all),
        KeyUsage::EncryptDecrypt => only([Attribute::Encrypt(true), Attribute::Decrypt(true)], all),
        KeyUsage::SignVerify => only([Attribute::Sign(true)], all),
        KeyUsage::GenerateVerifyMac => only([Attribute::Sign(true)], all),
        KeyUsage::KeyAgreement => only([Attribute::Derive(true)], all),
        // Older modules do not know the attribute; those that do, know the key.
        KeyUsage::EncapsulateDecapsulate => only([Attribute::Decapsulate(true)], all),
    }
}

fn public_uses(usage: KeyUsage) -> Vec<Attribute> {
    match usage {
        KeyUsage::EncryptDecrypt => only([Attribute::Encrypt(true)], PUBLIC_USES),
        KeyUsage::SignVerify => only([Attribute::Verify(true)], PUBLIC_USES),
        KeyUsage::EncapsulateDecapsulate => only([Attribute::Encapsulate(true)], PUBLIC_USES),
        KeyUsage::KeyAgreement | KeyUsage::GenerateVerifyMac => only([], PUBLIC_USES),
    }
}

/// A secret key, or the private half of a pair, to be generated.
pub(in crate::hsm) fn to_generate(nature: Nature, life: Lifetime<'_>, allowed: AllowedMechanisms) -> Vec<Attribute> {
    let mut attributes = life.attributes();
    attributes.extend(allowed_mechanisms(allowed.of(nature)));
    let length = match nature.spec.mac_bytes() {
        Some(bytes) => Some(bytes as u64),
        None => (nature.spec == KeySpec::SymmetricDefault).then_some(AES_BYTES),
    };
    attributes.extend(length.map(|bytes| Attribute::ValueLen(Ulong::from(bytes))));
    attributes.extend(secret_uses(nature));
    attributes
}

/// The same, to be unwrapped. No CKA_VALUE_LEN: SoftHSM2 refuses it here (CKR_ATTRIBUTE_READ_ONLY).
pub(in crate::hsm) fn to_unwrap(nature: Nature, allowed: AllowedMechanisms) -> Vec<Attribute> {
    to_unwrap_as(nature, Lifetime::Leased, allowed)
}

/// The public half of a pair to be generated: always a session object, because we keep it ourselves.
pub(in crate::hsm) fn public_to_generate(nature: Nature) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Token(false)];
    if let Some(bits) = nature.spec.modulus_bits() {
        attributes.push(Attribute::ModulusBits(Ulong::from(u64::from(bits))));
        attributes.push(Attribute::PublicExponent(vec![1, 0, 1]));
    }
    attributes.extend(ec_params(nature.spec).map(Attribute::EcParams));
    attributes.extend(parameter_set(nature.spec).map(Attribute::ParameterSet));
    attributes.extend(public_uses(nature.usage));
    attributes
}

/// A public key that is put into the HSM.
pub(in crate::hsm) fn public_to_create(nature: Nature, key: &PublicKey) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(nature.spec)),
        Attribute::Token(false),
    ];
    match key {
        PublicKey::Rsa(RsaPublicKey { modulus, exponent }) => {
            attributes.extend([Attribute::Modulus(modulus.clone()), Attribute::PublicExponent(exponent.clone())]);
        }
        PublicKey::Point(_, bytes) => attributes.push(Attribute::EcPoint(PublicKey::ec_point(bytes))),
        PublicKey::Bytes(KeySpec::EccNistEdwards25519, bytes) => {
            attributes.push(Attribute::EcPoint(PublicKey::ec_point(bytes)));
        }
        PublicKey::Bytes(_, bytes) => attributes.push(Attribute::Value(bytes.clone())),
    }
    attributes.extend(ec_params(nature.spec).map(Attribute::EcParams));
    attributes.extend(parameter_set(nature.spec).map(Attribute::ParameterSet));
    attributes.extend(public_uses(nature.usage));
    attributes
}

/// CKA_PARAMETER_SET (PKCS#11 3.2 sections 6.67 and 6.68).
fn parameter_set(spec: KeySpec) -> Option<ParameterSetType> {
    Some(match spec {
        KeySpec::MlDsa44 => MlDsaParameterSetType::ML_DSA_44.into(),
        KeySpec::MlDsa65 => MlDsaParameterSetType::ML_DSA_65.into(),
        KeySpec::MlDsa87 => MlDsaParameterSetType::ML_DSA_87.into(),
        KeySpec::MlKem512 => MlKemParameterSetType::ML_KEM_512.into(),
        KeySpec::MlKem768 => MlKemParameterSetType::ML_KEM_768.into(),
        KeySpec::MlKem1024 => MlKemParameterSetType::ML_KEM_1024.into(),
        _ => return None,
    })
}

/// An HMAC key of the probe, which is known here.
pub(in crate::hsm) fn known_mac_key(nature: Nature, value: Vec<u8>) -> Vec<Attribute> {
    let mut attributes = to_unwrap(nature, AllowedMechanisms::default());
    attributes.push(Attribute::Value(value));
    attributes
}

/// The private half of the pair under which material comes. It unwraps; where the host takes the padding off, it decrypts.
pub(in crate::hsm) fn carrier_to_generate(decrypts: bool) -> Vec<Attribute> {
    let mut attributes = Lifetime::Temporary.attributes();
    attributes.extend(carrier_uses(decrypts));
    attributes
}

/// The same, to be unwrapped.
pub(in crate::hsm) fn carrier_to_unwrap(decrypts: bool) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::RSA)];
    attributes.extend(Lifetime::Leased.attributes());
    attributes.extend(carrier_uses(decrypts));
    attributes
}

fn carrier_uses(decrypts: bool) -> Vec<Attribute> {
    only([Attribute::Unwrap(true), Attribute::Decrypt(decrypts)], PRIVATE_USES)
}

/// The AES key that comes along with material that is too long for RSA.
pub(in crate::hsm) fn key_encryption_key() -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    attributes.extend(Lifetime::Leased.attributes());
    attributes.extend(only([Attribute::Unwrap(true)], SECRET_USES));
    attributes
}

/// Material that has just come, to be looked at and wrapped at once. A private key of a curve shows its public half by what it
/// does, so it may sign and agree for that moment.
pub(in crate::hsm) fn newcomer(nature: Nature) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(class(nature.spec)), Attribute::KeyType(key_type(nature.spec))];
    attributes.extend(Lifetime::Temporary.attributes());
    attributes.extend(match nature.spec.curve() {
        Some(_) => only([Attribute::Sign(true), Attribute::Derive(true)], PRIVATE_USES),
        None => secret_uses(nature),
    });
    attributes
}

/// The same, to be unwrapped to a life of its own.
pub(in crate::hsm) fn to_unwrap_as(nature: Nature, life: Lifetime<'_>, allowed: AllowedMechanisms) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(class(nature.spec)), Attribute::KeyType(key_type(nature.spec))];
    attributes.extend(life.attributes());
    attributes.extend(allowed_mechanisms(allowed.of(nature)));
    attributes.extend(secret_uses(nature));
    attributes
}

/// A secret that two parties agreed on: it is answered, so it is readable, and gone a moment later.
pub(in crate::hsm) fn agreed_secret(bytes: usize) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(Ulong::from(bytes as u64)),
    ];
    attributes.extend(only([], SECRET_USES));
    attributes
}

/// An AES-256 key that is known here, under which a private key of a data key pair comes out.
pub(in crate::hsm) fn transport_key(value: Vec<u8>) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    attributes.extend(Lifetime::Leased.attributes());
    attributes.push(Attribute::Value(value));
    attributes.extend(only([Attribute::Wrap(true)], SECRET_USES));
    attributes
}

/// An AES-256 key that wraps and unwraps and does nothing else: a key that could also decrypt would turn a wrapped key
/// into a plaintext.
pub(in crate::hsm) fn wrapping_key(life: Lifetime<'_>, allowed: AllowedMechanisms) -> Vec<Attribute> {
    let mut attributes = life.attributes();
    attributes.extend(allowed_mechanisms(allowed.wrapping));
    attributes.push(Attribute::ValueLen(Ulong::from(AES_BYTES)));
    attributes.extend(only([Attribute::Wrap(true), Attribute::Unwrap(true)], SECRET_USES));
    attributes
}

/// The same, to be unwrapped. No CKA_VALUE_LEN, as for [`to_unwrap`].
pub(in crate::hsm) fn wrapping_key_to_unwrap(life: Lifetime<'_>, allowed: AllowedMechanisms) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    attributes.extend(life.attributes());
    attributes.extend(allowed_mechanisms(allowed.wrapping));
    attributes.extend(only([Attribute::Wrap(true), Attribute::Unwrap(true)], SECRET_USES));
    attributes
}

/// The private half of the pair under which a wrapping key comes to this HSM: unwraps, and does nothing else.
pub(in crate::hsm) fn joining_private_to_generate(cka_id: &[u8]) -> Vec<Attribute> {
    let mut attributes = Lifetime::Token { cka_id, label: JOIN_LABEL }.attributes();
    attributes.extend(only([Attribute::Unwrap(true)], PRIVATE_USES));
    attributes
}

/// Its public half.
pub(in crate::hsm) fn joining_public_to_generate(modulus_bits: u32) -> Vec<Attribute> {
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
pub(in crate::hsm) fn joining_public_to_create(key: &RsaPublicKey) -> Vec<Attribute> {
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

/// The template that finds the private halves of such pairs.
pub(in crate::hsm) fn joining_private() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Label(JOIN_LABEL.as_bytes().to_vec()),
    ]
}

/// The template that finds a secret or private key on the token by its id.
pub(in crate::hsm) fn token_object(class: ObjectClass, cka_id: &[u8]) -> Vec<Attribute> {
    vec![Attribute::Class(class), Attribute::Token(true), Attribute::Id(cka_id.to_vec())]
}

/// The template that finds the token objects of a probe that was killed: its label, and AES keys that encrypt and decrypt and do
/// nothing else. A wrapping key is none of them, whatever its label.
pub(in crate::hsm) fn left_by_a_probe() -> Vec<Attribute> {
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
pub(in crate::hsm) const PROBE_LABEL: &str = "strongroom probe";

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
    use cryptoki_sys::*;

    use super::*;
    use crate::hsm::engine::profile::bindings::{AES, Binding, FOR_AES, FOR_RAW_RSA, FOR_WRAPPING, RSA};
    use crate::key::spec::KeyUsage;

    const SIGNING: Nature = Nature { spec: KeySpec::Rsa2048, usage: KeyUsage::SignVerify };

    #[test]
    fn a_wrapping_key_can_do_nothing_else_and_an_rsa_key_cannot_sign() {
        let wrapping = wrapping_key(Lifetime::Token { cka_id: &[1], label: "w" }, AllowedMechanisms::default());
        assert!(wrapping.contains(&Attribute::Decrypt(false)) && wrapping.contains(&Attribute::Encrypt(false)));
        assert!(wrapping.contains(&Attribute::Extractable(false)) && wrapping.contains(&Attribute::Unwrap(true)));
        let shared =
            wrapping_key_to_unwrap(Lifetime::Shared { cka_id: &[1], label: "w" }, AllowedMechanisms::default());
        assert!(shared.contains(&Attribute::WrapWithTrusted(true)) && shared.contains(&Attribute::Decrypt(false)));
        assert!(to_unwrap(RSA, AllowedMechanisms::default()).contains(&Attribute::Sign(false)));
        assert!(to_unwrap(SIGNING, AllowedMechanisms::default()).contains(&Attribute::Decrypt(false)));
        assert!(to_unwrap(RSA, AllowedMechanisms::default()).contains(&Attribute::Extractable(false)));
    }

    #[test]
    fn only_what_is_to_be_wrapped_may_leave() {
        assert!(
            to_generate(AES, Lifetime::Temporary, AllowedMechanisms::default()).contains(&Attribute::Extractable(true))
        );
        assert!(to_unwrap(AES, AllowedMechanisms::default()).contains(&Attribute::Extractable(false)));
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
        let others = Binding::Bound;
        let allowed = AllowedMechanisms { aes: FOR_AES, rsa: FOR_RAW_RSA, wrapping: FOR_WRAPPING, others };
        assert_eq!(named(to_unwrap(AES, allowed)), FOR_AES);
        assert_eq!(named(to_generate(AES, Lifetime::Temporary, allowed)), FOR_AES);
        assert_eq!(named(to_unwrap(RSA, allowed)), FOR_RAW_RSA);
        assert_eq!(named(to_generate(RSA, Lifetime::Leased, allowed)), FOR_RAW_RSA);
        assert_eq!(named(wrapping_key(Lifetime::Leased, allowed)), FOR_WRAPPING);
        assert_eq!(named(to_unwrap(SIGNING, allowed)), [CKM_RSA_PKCS, CKM_RSA_PKCS_PSS]);
        assert!(named(to_unwrap(RSA, AllowedMechanisms::default())).is_empty());
    }
}
