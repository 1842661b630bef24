//! From the failures of machines to the exceptions of AWS: one `match` per arrow.

use crate::{
    attestation::Refusal,
    audit::AuditError,
    error::{Code, KmsError},
    hsm::{HsmError, Kind, LoginRefusal},
    key::custom_store::ConnectionError,
    store::{self, ChangeError, StoreError},
};

const THROTTLED: &str = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";

const TIMED_OUT: &str = "The system timed out while trying to fulfill the request. You can retry the request.";

/// The HSM cannot do what is asked for.
const NOT_OFFERED: &str = "The HSM does not offer the mechanism that this operation needs.";

/// The error of an HSM command with a key that does not judge the caller's data. No operation that uses a key declares
/// `UnsupportedOperationException` for it.
pub fn hsm(error: HsmError) -> KmsError {
    let code = match error.kind {
        Kind::Busy => Code::ThrottlingException,
        Kind::Unsupported => Code::InvalidKeyUsageException,
        Kind::KeyMissing => Code::KeyUnavailableException,
        Kind::Full
        | Kind::Timeout
        | Kind::SessionLost
        | Kind::LoggedOut
        | Kind::DeviceLost
        | Kind::PinRefused
        | Kind::Ambiguous
        | Kind::NoWrappingKey
        | Kind::Misconfigured => Code::DependencyTimeoutException,
        Kind::Rejected | Kind::Unfit | Kind::Bug => Code::KMSInternalException,
    };
    let message = match code {
        Code::ThrottlingException => THROTTLED,
        Code::InvalidKeyUsageException => NOT_OFFERED,
        Code::DependencyTimeoutException => TIMED_OUT,
        _ => return KmsError::bare(code).because(error),
    };
    KmsError::new(code, message).because(error)
}

/// As [`hsm`], where the key is none that the caller knows of: the service's own, or one to be made.
pub fn hsm_about_own_key(error: HsmError) -> KmsError {
    match error.kind {
        Kind::KeyMissing => KmsError::new(Code::DependencyTimeoutException, TIMED_OUT).because(error),
        Kind::Unsupported => KmsError::internal(error),
        _ => hsm(error),
    }
}

/// As [`hsm`], where something was to be made that is no KMS key, or not yet.
pub fn hsm_about_making(error: HsmError) -> KmsError {
    match error.kind {
        Kind::Unsupported => KmsError::new(Code::UnsupportedOperationException, NOT_OFFERED).because(error),
        _ => hsm_about_own_key(error),
    }
}

/// As [`hsm_about_making`], where a key was to be made: there may be no room for it.
pub fn hsm_about_new_key(error: HsmError) -> KmsError {
    match error.kind {
        Kind::Full => {
            KmsError::new(Code::LimitExceededException, "The HSM has no room for another key.").because(error)
        }
        _ => hsm_about_making(error),
    }
}

/// As [`hsm`], where something was to be encrypted for a recipient: it is the request that asks for what there is not.
pub fn hsm_about_recipient(error: HsmError) -> KmsError {
    match error.kind {
        Kind::Unsupported => {
            KmsError::invalid("Recipient is not supported: the HSM does not do RSAES_OAEP_SHA_256.").because(error)
        }
        _ => hsm_about_own_key(error),
    }
}

/// As [`hsm`], where the HSM was given a ciphertext: if it says that the data is wrong, the ciphertext is.
///
/// The engine says `Rejected` only when it knows the HSM to be well.
pub fn hsm_about_ciphertext(error: HsmError) -> KmsError {
    match error.kind {
        Kind::Rejected => KmsError::bare(Code::InvalidCiphertextException),
        _ => hsm(error),
    }
}

/// As [`hsm_about_making`], where the HSM was given the material: it may not unwrap, or not be of the key spec.
pub fn hsm_about_import(error: HsmError) -> KmsError {
    match error.kind {
        Kind::Rejected => KmsError::bare(Code::InvalidCiphertextException).because(error),
        Kind::Unfit => KmsError::bare(Code::IncorrectKeyMaterialException).because(error),
        _ => hsm_about_making(error),
    }
}

/// Why a custom key store could not be connected, of an HSM that could not be opened.
pub fn connection(error: &HsmError) -> ConnectionError {
    match (error.login_refusal(), error.kind) {
        (Some(LoginRefusal::WrongPin), _) => ConnectionError::InvalidCredentials,
        (Some(LoginRefusal::Locked), _) => ConnectionError::UserLockedOut,
        (Some(LoginRefusal::NoUser), _) => ConnectionError::UserNotFound,
        (None, _) if error.is_of_no_token() => ConnectionError::ClusterNotFound,
        (None, Kind::DeviceLost | Kind::Timeout) => ConnectionError::NetworkErrors,
        (None, _) => ConnectionError::InternalError,
    }
}

/// The error of a cluster that is configured and cannot be found.
pub fn cluster(id: &str, error: HsmError) -> KmsError {
    KmsError::new(Code::CloudHsmClusterNotActiveException, format!("{id} is not active.")).because(error)
}

/// The error of an attestation document that is not valid.
pub fn attestation(refusal: Refusal) -> KmsError {
    KmsError::invalid(format!("The attestation document is not valid: {refusal}."))
}

/// The error of a call while something that the service needs is not open yet; `what` names it in the log.
pub fn not_open(what: &'static str) -> KmsError {
    KmsError::new(Code::DependencyTimeoutException, TIMED_OUT).because(what)
}

/// The error of a caller who calls too often, or of a queue that is full.
pub fn throttled() -> KmsError {
    KmsError::new(Code::ThrottlingException, THROTTLED)
}

/// The error of a query of the store that failed.
pub fn store(error: StoreError) -> KmsError {
    if error.kind == store::StoreErrorKind::Busy {
        return throttled().because(error);
    }
    KmsError::new(Code::DependencyTimeoutException, TIMED_OUT).because(error)
}

/// The error of a call whose audit record could not be written: without a record there is no answer.
pub fn audit(error: AuditError) -> KmsError {
    KmsError::new(Code::DependencyTimeoutException, TIMED_OUT).because(error)
}

/// The error of a call while the audit trail cannot be written: it is not begun.
pub fn not_writable(trouble: String) -> KmsError {
    KmsError::new(Code::DependencyTimeoutException, TIMED_OUT).because(trouble)
}

/// The error of a change that was not made.
pub fn change(error: ChangeError<KmsError>, gone: impl FnOnce() -> KmsError) -> KmsError {
    match error {
        ChangeError::Refused(error) => error,
        ChangeError::NotFound => gone(),
        ChangeError::Store(error) => store(error),
    }
}
