//! Members that are AWS's words.

use serde_json::Value;

use super::{Faults, Member, Path, string};
use crate::{
    key::{
        Origin,
        algorithm::{
            EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, MessageType, SigningAlgorithm,
            WrappingAlgorithm, WrappingKeySpec,
        },
        custom_store::KeyStoreType,
        grant::GrantOperation,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
    request::Json,
};

/// Enums of AWS's words; `told as` those of another enum, where AWS's messages list these.
macro_rules! word_members {
    ($($type:ident $(told as $told:ident)?),+) => { $(
        impl Member for $type {
            fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
                let text = string(json, faults)?;
                Self::from_name(text).or_else(|| {
                    let words: Vec<_> = word_members!(@all $type $($told)?).iter().map(|word| word.as_str()).collect();
                    let rule = format_args!("satisfy enum value set: [{}]", words.join(", ")).to_string();
                    faults.constraint(Some(text), path, rule)
                })
            }

            fn shown(&self) -> Option<Value> {
                Some(self.as_str().into())
            }
        }
    )+ };
    (@all $type:ident) => { $type::ALL };
    (@all $type:ident $told:ident) => { $told::ALL };
}

crate::aws_names::aws_enum! {
    /// KeySpec of GenerateDataKey.
    DataKeySpec {
        Aes256 = "AES_256",
        Aes128 = "AES_128",
    }
}

crate::aws_names::aws_enum! {
    /// KeyPairSpec of GenerateDataKeyPair.
    DataKeyPairSpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        Sm2 = "SM2",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        MlKem512 = "ML_KEM_512",
        MlKem768 = "ML_KEM_768",
        MlKem1024 = "ML_KEM_1024",
    }
}

impl DataKeyPairSpec {
    /// The same pair as a KMS key.
    pub fn key_spec(self) -> KeySpec {
        match self {
            Self::Rsa2048 => KeySpec::Rsa2048,
            Self::Rsa3072 => KeySpec::Rsa3072,
            Self::Rsa4096 => KeySpec::Rsa4096,
            Self::EccNistP256 => KeySpec::EccNistP256,
            Self::EccNistP384 => KeySpec::EccNistP384,
            Self::EccNistP521 => KeySpec::EccNistP521,
            Self::EccSecgP256k1 => KeySpec::EccSecgP256k1,
            Self::Sm2 => KeySpec::Sm2,
            Self::EccNistEdwards25519 => KeySpec::EccNistEdwards25519,
            Self::MlKem512 => KeySpec::MlKem512,
            Self::MlKem768 => KeySpec::MlKem768,
            Self::MlKem1024 => KeySpec::MlKem1024,
        }
    }
}

crate::aws_names::aws_enum! {
    /// KeyEncryptionMechanism of a Recipient.
    KeyEncryptionAlgorithm {
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
    }
}

crate::aws_names::aws_enum! {
    /// DryRunModifiers of Decrypt and ReEncrypt.
    DryRunModifier {
        IgnoreCiphertext = "IGNORE_CIPHERTEXT",
    }
}

crate::aws_names::aws_enum! {
    /// ExpirationModelType.
    ExpirationModel {
        KeyMaterialExpires = "KEY_MATERIAL_EXPIRES",
        KeyMaterialDoesNotExpire = "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

crate::aws_names::aws_enum! {
    /// ImportType.
    ImportType {
        NewKeyMaterial = "NEW_KEY_MATERIAL",
        ExistingKeyMaterial = "EXISTING_KEY_MATERIAL",
    }
}

crate::aws_names::aws_enum! {
    /// IncludeKeyMaterial of ListKeyRotations.
    IncludeKeyMaterial {
        AllKeyMaterial = "ALL_KEY_MATERIAL",
        RotationsOnly = "ROTATIONS_ONLY",
    }
}

crate::aws_names::aws_enum! {
    /// XksProxyConnectivityType.
    XksConnectivity {
        PublicEndpoint = "PUBLIC_ENDPOINT",
        VpcEndpointService = "VPC_ENDPOINT_SERVICE",
    }
}

word_members!(KeySpec, KeyUsage, EncryptionAlgorithm, Origin, DataKeySpec told as KeySpec, DataKeyPairSpec);
word_members!(
    DryRunModifier,
    KeyEncryptionAlgorithm,
    KeyStoreType,
    XksConnectivity,
    MessageType,
    WrappingAlgorithm,
    WrappingKeySpec
);
word_members!(GrantOperation, ExpirationModel, ImportType, IncludeKeyMaterial);
word_members!(SigningAlgorithm, MacAlgorithm, KeyAgreementAlgorithm, EncapsulationAlgorithm);
