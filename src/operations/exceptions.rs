//! Which exceptions each operation may answer: those that its model declares (AWS KMS API Reference: "Errors" of each
//! operation), and those that every operation may. Clients know no others.

use super::Entry;
use crate::error::{Code, KmsError};

/// Exceptions of every operation (AWS KMS: "Common errors"; the protocol's own). All models declare the first. The next two are
/// about the ARN or the grant token in a request, and AWS answers them whether the model declares them or not.
const COMMON: &[Code] = {
    use Code::*;
    &[
        KMSInternalException,
        InvalidArnException,
        InvalidGrantTokenException,
        AccessDeniedException,
        IncompleteSignatureException,
        InvalidSignatureException,
        MissingAuthenticationTokenException,
        NotAuthorizedException,
        RequestEntityTooLargeException,
        RequestTimeoutException,
        SerializationException,
        ServiceUnavailableException,
        ThrottlingException,
        UnknownOperationException,
        UnrecognizedClientException,
        ValidationException,
    ]
};

macro_rules! declared {
    ($($operation:ident: $($code:ident)*;)+) => {
        /// The exceptions that the model of an operation declares, without KMSInternalException and those of external key stores.
        fn declared(operation: &str) -> &'static [Code] {
            match operation {
                $(stringify!($operation) => &[$(Code::$code),*],)+
                _ => &[],
            }
        }
    };
}

declared! {
    CancelKeyDeletion: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    ConnectCustomKeyStore: CloudHsmClusterInvalidConfigurationException CloudHsmClusterNotActiveException
        CustomKeyStoreInvalidStateException CustomKeyStoreNotFoundException;
    CreateAlias: AlreadyExistsException DependencyTimeoutException InvalidAliasNameException
        KMSInvalidStateException LimitExceededException NotFoundException;
    CreateCustomKeyStore: CloudHsmClusterInUseException CloudHsmClusterInvalidConfigurationException
        CloudHsmClusterNotActiveException CloudHsmClusterNotFoundException CustomKeyStoreNameInUseException
        IncorrectTrustAnchorException LimitExceededException;
    CreateGrant: DependencyTimeoutException DisabledException DryRunOperationException InvalidArnException
        InvalidGrantTokenException KMSInvalidStateException LimitExceededException NotFoundException;
    CreateKey: CloudHsmClusterInvalidConfigurationException CustomKeyStoreInvalidStateException
        CustomKeyStoreNotFoundException DependencyTimeoutException InvalidArnException LimitExceededException
        MalformedPolicyDocumentException TagException UnsupportedOperationException;
    Decapsulate: DependencyTimeoutException DisabledException DryRunOperationException InvalidCiphertextException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException;
    Decrypt: DependencyTimeoutException DisabledException DryRunOperationException IncorrectKeyException
        InvalidCiphertextException InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException
        KeyUnavailableException NotFoundException;
    DeleteAlias: DependencyTimeoutException KMSInvalidStateException NotFoundException;
    DeleteCustomKeyStore: CustomKeyStoreHasCMKsException CustomKeyStoreInvalidStateException
        CustomKeyStoreNotFoundException;
    DeleteImportedKeyMaterial: DependencyTimeoutException InvalidArnException KMSInvalidStateException
        NotFoundException UnsupportedOperationException;
    DeriveSharedSecret: DependencyTimeoutException DisabledException DryRunOperationException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException;
    DescribeCustomKeyStores: CustomKeyStoreNotFoundException InvalidMarkerException;
    DescribeKey: DependencyTimeoutException InvalidArnException NotFoundException;
    DisableKey: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    DisableKeyRotation: DependencyTimeoutException DisabledException InvalidArnException KMSInvalidStateException
        NotFoundException UnsupportedOperationException;
    DisconnectCustomKeyStore: CustomKeyStoreInvalidStateException CustomKeyStoreNotFoundException;
    EnableKey: DependencyTimeoutException InvalidArnException KMSInvalidStateException LimitExceededException
        NotFoundException;
    EnableKeyRotation: DependencyTimeoutException DisabledException InvalidArnException KMSInvalidStateException
        NotFoundException UnsupportedOperationException;
    Encapsulate: DependencyTimeoutException DisabledException DryRunOperationException InvalidGrantTokenException
        InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException NotFoundException;
    Encrypt: DependencyTimeoutException DisabledException DryRunOperationException InvalidGrantTokenException
        InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException NotFoundException;
    GenerateDataKey: DependencyTimeoutException DisabledException DryRunOperationException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException;
    GenerateDataKeyPair: DependencyTimeoutException DisabledException DryRunOperationException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException UnsupportedOperationException;
    GenerateDataKeyPairWithoutPlaintext: DependencyTimeoutException DisabledException DryRunOperationException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException UnsupportedOperationException;
    GenerateDataKeyWithoutPlaintext: DependencyTimeoutException DisabledException DryRunOperationException
        InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException
        NotFoundException;
    GenerateMac: DisabledException DryRunOperationException InvalidGrantTokenException InvalidKeyUsageException
        KMSInvalidStateException KeyUnavailableException NotFoundException;
    GenerateRandom: CustomKeyStoreInvalidStateException CustomKeyStoreNotFoundException DependencyTimeoutException
        UnsupportedOperationException;
    GetKeyLastUsage: DependencyTimeoutException InvalidArnException NotFoundException;
    GetKeyPolicy: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    GetKeyRotationStatus: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException
        UnsupportedOperationException;
    GetParametersForImport: DependencyTimeoutException InvalidArnException KMSInvalidStateException
        NotFoundException UnsupportedOperationException;
    GetPublicKey: DependencyTimeoutException DisabledException InvalidArnException InvalidGrantTokenException
        InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException NotFoundException
        UnsupportedOperationException;
    ImportKeyMaterial: DependencyTimeoutException ExpiredImportTokenException IncorrectKeyMaterialException
        InvalidArnException InvalidCiphertextException InvalidImportTokenException KMSInvalidStateException
        NotFoundException UnsupportedOperationException;
    ListAliases: DependencyTimeoutException InvalidArnException InvalidMarkerException NotFoundException;
    ListGrants: DependencyTimeoutException InvalidArnException InvalidGrantIdException InvalidMarkerException
        KMSInvalidStateException NotFoundException;
    ListKeyPolicies: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    ListKeyRotations: InvalidArnException InvalidMarkerException KMSInvalidStateException NotFoundException
        UnsupportedOperationException;
    ListKeys: DependencyTimeoutException InvalidMarkerException;
    ListResourceTags: InvalidArnException InvalidMarkerException NotFoundException;
    ListRetirableGrants: DependencyTimeoutException InvalidArnException InvalidMarkerException NotFoundException;
    PutKeyPolicy: DependencyTimeoutException InvalidArnException KMSInvalidStateException LimitExceededException
        MalformedPolicyDocumentException NotFoundException UnsupportedOperationException;
    ReEncrypt: DependencyTimeoutException DisabledException DryRunOperationException IncorrectKeyException
        InvalidCiphertextException InvalidGrantTokenException InvalidKeyUsageException KMSInvalidStateException
        KeyUnavailableException NotFoundException;
    ReplicateKey: AlreadyExistsException DisabledException InvalidArnException KMSInvalidStateException
        LimitExceededException MalformedPolicyDocumentException NotFoundException TagException
        UnsupportedOperationException;
    RetireGrant: DependencyTimeoutException DryRunOperationException InvalidArnException InvalidGrantIdException
        InvalidGrantTokenException KMSInvalidStateException NotFoundException;
    RevokeGrant: DependencyTimeoutException DryRunOperationException InvalidArnException InvalidGrantIdException
        KMSInvalidStateException NotFoundException;
    RotateKeyOnDemand: ConflictException DependencyTimeoutException DisabledException InvalidArnException
        KMSInvalidStateException LimitExceededException NotFoundException UnsupportedOperationException;
    ScheduleKeyDeletion: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    Sign: DependencyTimeoutException DisabledException DryRunOperationException InvalidGrantTokenException
        InvalidKeyUsageException KMSInvalidStateException KeyUnavailableException NotFoundException;
    TagResource: InvalidArnException KMSInvalidStateException LimitExceededException NotFoundException TagException;
    UntagResource: InvalidArnException KMSInvalidStateException NotFoundException TagException;
    UpdateAlias: DependencyTimeoutException KMSInvalidStateException LimitExceededException NotFoundException;
    UpdateCustomKeyStore: CloudHsmClusterInvalidConfigurationException CloudHsmClusterNotActiveException
        CloudHsmClusterNotFoundException CloudHsmClusterNotRelatedException CustomKeyStoreInvalidStateException
        CustomKeyStoreNameInUseException CustomKeyStoreNotFoundException;
    UpdateKeyDescription: DependencyTimeoutException InvalidArnException KMSInvalidStateException NotFoundException;
    UpdatePrimaryRegion: DisabledException InvalidArnException KMSInvalidStateException NotFoundException
        UnsupportedOperationException;
    Verify: DependencyTimeoutException DisabledException DryRunOperationException InvalidGrantTokenException
        InvalidKeyUsageException KMSInvalidSignatureException KMSInvalidStateException KeyUnavailableException
        NotFoundException;
    VerifyMac: DisabledException DryRunOperationException InvalidGrantTokenException InvalidKeyUsageException
        KMSInvalidMacException KMSInvalidStateException KeyUnavailableException NotFoundException;
}

impl Entry {
    /// True if clients know from the model that the operation may answer this.
    pub fn may_answer(&self, code: Code) -> bool {
        COMMON.contains(&code) || declared(self.name).contains(&code)
    }

    /// The failure, as the operation may answer it. What is not the caller's fault has another name where the model does
    /// not declare its own; clients try again in either case.
    pub fn answer(&self, error: KmsError) -> KmsError {
        match self.may_answer(error.code) || error.code.status() < 500 {
            true => error,
            false => error.named(Code::KMSInternalException),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::TABLE;

    #[test]
    fn every_operation_declares_something() {
        assert!(TABLE.iter().all(|entry| !declared(entry.name).is_empty()));
    }

    #[test]
    fn a_failure_of_the_service_is_answered_by_a_name_that_is_declared() {
        let answer = |name: &str, code| {
            let entry = TABLE.iter().find(|entry| entry.name == name).expect("an operation");
            entry.answer(KmsError::new(code, "why")).to_string()
        };
        let timeout = Code::DependencyTimeoutException;
        assert_eq!(answer("Sign", timeout), "DependencyTimeoutException: why");
        assert_eq!(answer("TagResource", timeout), "KMSInternalException: why");
        assert_eq!(answer("TagResource", Code::TagException), "TagException: why");
    }
}
