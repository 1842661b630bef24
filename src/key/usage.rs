//! Uses of a key that GetKeyLastUsage counts (AWS KMS: KeyLastUsageData).

use uuid::Uuid;

use crate::{aws_names::aws_enum, clock::Timestamp};

aws_enum! {
    /// An operation that uses a key for cryptography, and so counts.
    UsingOperation {
        Decrypt = "Decrypt",
        DeriveSharedSecret = "DeriveSharedSecret",
        Encrypt = "Encrypt",
        GenerateDataKey = "GenerateDataKey",
        GenerateDataKeyPair = "GenerateDataKeyPair",
        GenerateDataKeyPairWithoutPlaintext = "GenerateDataKeyPairWithoutPlaintext",
        GenerateDataKeyWithoutPlaintext = "GenerateDataKeyWithoutPlaintext",
        GenerateMac = "GenerateMac",
        ReEncrypt = "ReEncrypt",
        Sign = "Sign",
        Verify = "Verify",
        VerifyMac = "VerifyMac",
        Encapsulate = "Encapsulate",
        Decapsulate = "Decapsulate",
    }
}

/// A successful use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The operation that used it.
    pub operation: UsingOperation,
    /// When.
    pub time: Timestamp,
    /// The audit record of the call.
    pub event_id: Uuid,
    /// The request id of the call.
    pub request_id: Uuid,
}
