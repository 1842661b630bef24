//! The error of an operation, and the one table from AWS's exception to its HTTP status.
//!
//! An error carries two things for two readers: `code` and `message` go to the caller, `cause` goes to the log under
//! the request id and nowhere else.
//!
//! The status is 400 for everything that the caller can mend and 500 for the exceptions that the model marks as faults, as
//! AWS's wire shows; the model's 404, 409 and 503 are not on the wire, and SDKs retry 500 as they retry 503.

use std::{error::Error, fmt};

/// Defines the exceptions: name on the wire and HTTP status (AWS KMS: "Common errors", and each operation's list).
macro_rules! codes {
    ($($status:literal: $($code:ident)+;)+) => {
        /// An AWS exception, named as `__type` names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are AWS's and documented there")]
        pub enum Code { $($($code),+),+ }

        impl Code {
            /// Every exception.
            pub const ALL: &'static [Self] = &[$($(Self::$code),+),+];

            /// The name that `__type` carries.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$code => stringify!($code)),+),+ }
            }

            /// HTTP status on the wire. The model's `httpError` traits say otherwise; the service does not follow them.
            pub const fn status(self) -> u16 {
                match self { $($(Self::$code => $status),+),+ }
            }
        }
    };
}

codes! {
    400:
        AccessDeniedException AlreadyExistsException CloudHsmClusterInUseException
        CloudHsmClusterInvalidConfigurationException CloudHsmClusterNotActiveException CloudHsmClusterNotFoundException
        CloudHsmClusterNotRelatedException ConflictException CustomKeyStoreHasCMKsException
        CustomKeyStoreInvalidStateException CustomKeyStoreNameInUseException CustomKeyStoreNotFoundException
        DisabledException DryRunOperationException IncorrectTrustAnchorException
        ExpiredImportTokenException IncorrectKeyMaterialException InvalidImportTokenException
        IncompleteSignatureException IncorrectKeyException InvalidAliasNameException InvalidArnException
        InvalidCiphertextException InvalidGrantIdException InvalidGrantTokenException InvalidKeyUsageException
        InvalidMarkerException InvalidSignatureException KMSInvalidMacException KMSInvalidSignatureException KMSInvalidStateException
        LimitExceededException MalformedPolicyDocumentException
        MissingAuthenticationTokenException NotAuthorizedException NotFoundException SerializationException
        TagException ThrottlingException UnknownOperationException UnrecognizedClientException
        UnsupportedOperationException ValidationException;
    408: RequestTimeoutException;
    413: RequestEntityTooLargeException;
    500: DependencyTimeoutException KMSInternalException KeyUnavailableException;
    503: ServiceUnavailableException;
}

/// The failure of one operation.
#[derive(Debug)]
pub struct KmsError {
    /// AWS's exception.
    pub code: Code,
    /// AWS's sentence; some exceptions have none, and then the wire has none either.
    pub message: Option<String>,
    /// Why policies deny, in one word, for the audit record alone: callers are told less.
    pub denial: Option<&'static str>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl KmsError {
    /// An exception with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), denial: None, cause: None }
    }

    /// An exception that AWS sends without a message.
    pub fn bare(code: Code) -> Self {
        Self { code, message: None, denial: None, cause: None }
    }

    /// A defect of ours: the caller learns nothing but that it was not their fault.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::bare(Code::KMSInternalException).because(cause)
    }

    /// `ValidationException` with a sentence of its own.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ValidationException, message)
    }

    /// `AccessDeniedException`: a sentence for the caller, and the reason for the audit record.
    pub fn denied(message: impl Into<String>, reason: &'static str) -> Self {
        Self { denial: Some(reason), ..Self::new(Code::AccessDeniedException, message) }
    }

    /// Adds what went wrong underneath, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same failure with another sentence for the caller.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// The same failure as another exception.
    #[must_use]
    pub fn named(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// The failure with all that went wrong underneath, for the log.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }

    /// The error underneath, if there is one.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

/// An error and all that went wrong underneath, the deepest last.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl fmt::Display for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code.as_str()),
            None => f.write_str(self.code.as_str()),
        }
    }
}

impl Error for KmsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}
