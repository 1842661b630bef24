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

impl Entry {
    /// True if clients know from the model that the operation may answer this.
    pub fn may_answer(&self, code: Code) -> bool {
        COMMON.contains(&code) || self.exceptions.contains(&code)
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
        assert!(TABLE.iter().all(|entry| !entry.exceptions.is_empty()));
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
