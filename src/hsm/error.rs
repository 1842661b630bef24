//! Errors of HSMs, and the one table that says what each PKCS#11 code means to us.
//!
//! A code says what a module felt like saying; a [`Kind`] says whose fault it is and what may be done about it. Nothing
//! outside this file looks at a code.

use std::borrow::Cow;
use std::fmt;

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use serde::{Deserialize, Serialize};

/// A call that the HSM, or the engine in front of it, did not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmError {
    /// The PKCS#11 function that answered, or the engine's own word for what it was doing.
    pub function: Cow<'static, str>,
    /// The PKCS#11 code by its name in the standard, or a sentence where no code was involved.
    pub code: Cow<'static, str>,
    /// Whose fault it is and what may be done about it.
    pub kind: Kind,
}

/// Whose fault an error is and what may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The caller's data: a ciphertext that is not ours, a plaintext that is too long. Said only when the HSM is known well.
    Rejected,
    /// The caller's key material: it came in, and is not of the key spec.
    Unfit,
    /// This HSM cannot do this.
    Unsupported,
    /// The queue is full, or the token has no session left.
    Busy,
    /// The deadline passed, wherever the command was by then: it says nothing of the HSM. A call that does not return is told by
    /// the engine itself.
    Timeout,
    /// The session is gone or in an unknown state; another session may do the same call.
    SessionLost,
    /// The token no longer knows our login.
    LoggedOut,
    /// The HSM is not there, or not well.
    DeviceLost,
    /// The token refused the PIN, or would lock if it were tried once more.
    PinRefused,
    /// The object of this one key is missing, damaged or not what it should be; the HSM is well.
    KeyMissing,
    /// A code that modules use both for bad data and for a broken HSM. Never leaves the engine: see `dispatch/blame.rs`.
    Ambiguous,
    /// The HSM has no room for another object.
    Full,
    /// The wrapping key is not in the HSM.
    NoWrappingKey,
    /// A code that only a mistake of ours explains.
    Bug,
    /// The operator's settings do not fit what is there.
    Misconfigured,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected => "it refuses the data",
            Self::Unfit => "the key material is not of the key spec",
            Self::Unsupported => "it cannot do what is asked for",
            Self::Busy => "it has no session left",
            Self::Timeout => "it does not answer in time",
            Self::SessionLost => "it loses sessions",
            Self::LoggedOut => "it forgets the login",
            Self::DeviceLost => "it is not there, or not well",
            Self::PinRefused => "it refuses the PIN",
            Self::KeyMissing => "a key is missing or damaged",
            Self::Ambiguous => "it does not say why",
            Self::Full => "it has no room for another object",
            Self::NoWrappingKey => "it has no wrapping key",
            Self::Bug => "it was called wrongly",
            Self::Misconfigured => "it is not as the configuration says",
        })
    }
}

/// Why nobody was let in, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefusal {
    /// The PIN is wrong, or was.
    WrongPin,
    /// The user is locked, or would be by one more wrong PIN.
    Locked,
    /// There is no user yet.
    NoUser,
}

impl HsmError {
    /// Why nobody was let in, if that is what is the matter.
    pub fn login_refusal(&self) -> Option<LoginRefusal> {
        (self.kind == Kind::PinRefused).then_some(match &*self.code {
            "CKR_PIN_LOCKED" => LoginRefusal::Locked,
            // Seen on the token before a login was tried.
            _ if self.function.starts_with("C_GetTokenInfo") => LoginRefusal::Locked,
            "CKR_USER_PIN_NOT_INITIALIZED" => LoginRefusal::NoUser,
            _ => LoginRefusal::WrongPin,
        })
    }

    /// True if there is no token as the settings name it.
    pub fn is_of_no_token(&self) -> bool {
        self.function == NO_TOKEN
    }

    /// An error that the engine itself found.
    pub(super) fn new(kind: Kind, function: &'static str, code: impl Into<Cow<'static, str>>) -> Self {
        Self { function: function.into(), code: code.into(), kind }
    }

    /// The operator's settings do not fit; `text` is for the operator to read.
    pub(super) fn misconfigured(function: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Misconfigured, function, text)
    }

    /// A code that a C function answered.
    pub(super) fn answered(function: &'static str, rv: RvError) -> Self {
        let kind = match (function, kind_of(rv)) {
            // What goes in is the caller's, and NSS answers with the code of whatever failed last in the thread.
            ("C_Verify" | "C_Decrypt", Kind::Bug) => Kind::Ambiguous,
            (_, kind) => kind,
        };
        Self::new(kind, function, name_of(rv))
    }

    pub(super) fn timeout() -> Self {
        Self::new(Kind::Timeout, "call", "the deadline passed")
    }

    pub(super) fn stopped() -> Self {
        Self::new(Kind::DeviceLost, "call", "the engine has stopped")
    }

    /// The same error, answered to who has other sessions open.
    pub(super) fn beside_other_sessions(self) -> Self {
        let reading = BESIDE_OTHER_SESSIONS.iter().find(|(name, code, _)| *name == self.function && *code == self.code);
        match reading {
            Some((_, _, kind)) => self.with_kind(*kind),
            None => self,
        }
    }

    /// The same error, seen in a better light.
    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same error, with the name of the HSM that it is of.
    pub(crate) fn of(self, name: &str) -> Self {
        Self { function: format!("`{name}`, {}", self.function).into(), ..self }
    }

    /// The same error, with the slot that the call was about.
    pub(super) fn in_slot(self, slot: u64) -> Self {
        Self { function: format!("{} of slot {slot}", self.function).into(), ..self }
    }

    /// True if the call ended in a way that leaves no operation open, so that its session may be used again: the data was
    /// refused, or we refused it ourselves. Of any other code nobody knows whether the HSM had begun something.
    pub(super) fn spares_session(&self) -> bool {
        use Kind::{Ambiguous, KeyMissing, Misconfigured, NoWrappingKey, Rejected, Unfit, Unsupported};
        match self.kind {
            Rejected | Unfit => true,
            Unsupported | KeyMissing | NoWrappingKey | Misconfigured | Ambiguous => !self.is_answer(),
            _ => false,
        }
    }

    /// True if this says that the HSM does not do what it was asked for, and nothing else.
    pub(super) fn is_plain_refusal(&self) -> bool {
        use Kind::{Bug, KeyMissing, Misconfigured, NoWrappingKey, Rejected, Unfit, Unsupported};
        let is_kind =
            matches!(self.kind, Rejected | Unfit | Unsupported | KeyMissing | NoWrappingKey | Misconfigured | Bug);
        is_kind && !self.is_of_a_dead_handle() || self.is_wrong_answer()
    }

    /// An HSM that says that all is well and is wrong.
    pub(super) fn wrong_answer(function: &'static str) -> Self {
        Self::new(Kind::DeviceLost, function, WRONG_ANSWER)
    }

    /// True if an HSM said that all is well and was wrong.
    pub(super) fn is_wrong_answer(&self) -> bool {
        self.code == WRONG_ANSWER
    }

    /// A module that says what cannot be.
    pub(super) fn nonsense(function: &'static str, text: &'static str) -> Self {
        Self::new(Kind::SessionLost, function, text)
    }

    /// True if a handle meant nothing, which says nothing about the key that it was a handle of.
    pub(super) fn is_of_a_dead_handle(&self) -> bool {
        self.function == "lease" || matches!(&*self.code, "CKR_OBJECT_HANDLE_INVALID" | "CKR_KEY_HANDLE_INVALID")
    }

    /// True if a search may have been left open. The other calls that the anchor makes begin and end in one C function, so
    /// that its session is good after any answer that does not speak of the session.
    pub(super) fn is_of_a_search(&self) -> bool {
        self.function.starts_with("C_FindObjects")
    }

    /// True if a C function answered this, as opposed to the engine itself.
    pub(super) fn is_answer(&self) -> bool {
        self.code.starts_with("CKR_")
    }
}

impl fmt::Display for HsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.code)
    }
}

impl std::error::Error for HsmError {}

impl AsRef<Self> for HsmError {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Errors of `cryptoki` that are not a code come from loading or converting, so from the module or from us.
impl From<Error> for HsmError {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(rv, function) => Self::answered(c_name(function), rv),
            Error::LibraryLoading(_) | Error::MissingSymbol(_) => Self::misconfigured("load", error.to_string()),
            Error::NullFunctionPointer => Self::new(Kind::Unsupported, "load", "the module lacks the function"),
            // What cannot be read is not what the standard says.
            other => Self::new(Kind::SessionLost, "cryptoki", other.to_string()),
        }
    }
}

/// The table: what each code means to us.
fn kind_of(rv: RvError) -> Kind {
    use RvError as R;
    match rv {
        // Said of good data, too, if what is wrong is the key: see `engine/state/login_session.rs`.
        R::EncryptedDataInvalid | R::EncryptedDataLenRange => Kind::Ambiguous,
        R::SignatureInvalid | R::SignatureLenRange => Kind::Ambiguous,

        // SoftHSM2 2.6.1 says GENERAL_ERROR to a bad tag, nShield FUNCTION_FAILED, Kryoptic DEVICE_ERROR to bad OAEP;
        // YubiHSM says FUNCTION_FAILED when the line is down.
        R::GeneralError | R::FunctionFailed | R::DeviceError | R::FunctionCanceled => Kind::Ambiguous,
        R::DataInvalid | R::DataLenRange | R::VendorDefined(_) | R::UnknownErrorCode(_) => Kind::Ambiguous,

        R::SessionHandleInvalid | R::SessionClosed | R::OperationActive | R::OperationNotInitialized => {
            Kind::SessionLost
        }
        // Our buffers are as long as the answers can be: the module has lost its way, and the operation stays open.
        R::BufferTooSmall => Kind::SessionLost,
        R::SessionCount => Kind::Busy,
        R::UserNotLoggedIn => Kind::LoggedOut,

        // Somebody else in our process has logged in as the security officer.
        R::SessionReadWriteSoExists => Kind::DeviceLost,
        R::DeviceRemoved | R::TokenNotPresent | R::TokenNotRecognized | R::SlotIdInvalid => Kind::DeviceLost,
        R::CryptokiNotInitialized | R::HostMemory | R::RandomNoRng | R::FipsSelfTestFailed => Kind::DeviceLost,
        R::DeviceMemory => Kind::Full,

        R::PinIncorrect | R::PinInvalid | R::PinLenRange | R::PinExpired | R::PinLocked | R::PinTooWeak => {
            Kind::PinRefused
        }
        R::UserPinNotInitialized | R::NewPinMode => Kind::PinRefused,

        // The last three: an object that is there and is not what we made (damaged, or changed behind our back).
        R::ObjectHandleInvalid | R::KeyHandleInvalid => Kind::KeyMissing,
        R::WrappedKeyInvalid | R::WrappedKeyLenRange => Kind::KeyMissing,
        R::KeyTypeInconsistent | R::KeyFunctionNotPermitted | R::KeyChanged => Kind::KeyMissing,

        R::WrappingKeyHandleInvalid | R::UnwrappingKeyHandleInvalid => Kind::NoWrappingKey,

        R::MechanismInvalid | R::MechanismParamInvalid | R::FunctionNotSupported => Kind::Unsupported,
        R::KeySizeRange | R::CurveNotSupported | R::KeyNotWrappable | R::RandomSeedNotSupported => Kind::Unsupported,
        R::AttributeTypeInvalid | R::AttributeValueInvalid | R::AttributeReadOnly => Kind::Unsupported,
        R::TemplateIncomplete | R::TemplateInconsistent => Kind::Unsupported,

        R::TokenWriteProtected | R::CantLock | R::NeedToCreateThreads | R::LibraryLoadFailed => Kind::Misconfigured,
        _ => Kind::Bug,
    }
}

/// The function of an error that says that no token fits.
pub(super) const NO_TOKEN: &str = "find token";

const WRONG_ANSWER: &str = "the HSM gave a wrong answer";

/// The meaning of codes of a function for callers who have other sessions open, where it is not that of the table.
const BESIDE_OTHER_SESSIONS: &[(&str, &str, Kind)] = &[
    // AWS CloudHSM has no other word for its limit of sessions.
    ("C_OpenSession", "CKR_ARGUMENTS_BAD", Kind::Busy),
];

/// The standard's name of a code. `cryptoki` names its variants after it, so the name is spelt back from the variant.
fn name_of(rv: RvError) -> String {
    if let RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) = rv {
        return format!("CKR_0x{code:08X}");
    }
    format!("{rv:?}").chars().fold(String::from("CKR"), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
        name
    })
}

/// The C name of the functions that we call.
fn c_name(function: Function) -> &'static str {
    macro_rules! names {
        ($($variant:ident = $name:literal),+ $(,)?) => {
            match function { $(Function::$variant => $name,)+ _ => "C_Other" }
        };
    }
    names! {
        Initialize = "C_Initialize", GetInfo = "C_GetInfo", GetFunctionList = "C_GetFunctionList",
        GetMechanismInfo = "C_GetMechanismInfo",
        InitToken = "C_InitToken", InitPIN = "C_InitPIN", OpenSession = "C_OpenSession",
        CloseSession = "C_CloseSession", Login = "C_Login", Logout = "C_Logout", CreateObject = "C_CreateObject",
        DestroyObject = "C_DestroyObject", GetAttributeValue = "C_GetAttributeValue",
        FindObjectsInit = "C_FindObjectsInit", FindObjects = "C_FindObjects", FindObjectsFinal = "C_FindObjectsFinal",
        GenerateKey = "C_GenerateKey", GenerateKeyPair = "C_GenerateKeyPair", GenerateRandom = "C_GenerateRandom",
        DeriveKey = "C_DeriveKey", EncapsulateKey = "C_EncapsulateKey", DecapsulateKey = "C_DecapsulateKey",
        WrapKey = "C_WrapKey", UnwrapKey = "C_UnwrapKey", SetAttributeValue = "C_SetAttributeValue",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_in_the_standard() {
        assert_eq!(name_of(RvError::GeneralError), "CKR_GENERAL_ERROR");
        assert_eq!(name_of(RvError::RandomNoRng), "CKR_RANDOM_NO_RNG");
        assert_eq!(name_of(RvError::VendorDefined(0x8000_0001)), "CKR_0x80000001");
    }

    #[test]
    fn bad_arguments_are_a_limit_of_sessions_only_where_a_session_is_opened() {
        let beside = |function, rv| HsmError::answered(function, rv).beside_other_sessions().kind;
        assert_eq!(beside("C_OpenSession", RvError::ArgumentsBad), Kind::Busy);
        assert_eq!(beside("C_OpenSession", RvError::SessionCount), Kind::Busy);
        assert_eq!(beside("C_Encrypt", RvError::ArgumentsBad), Kind::Bug);
        assert_eq!(beside("C_OpenSession", RvError::TokenNotPresent), Kind::DeviceLost);
    }

    #[test]
    fn what_judges_data_is_never_a_mistake_of_ours() {
        let kind = |function| HsmError::answered(function, RvError::ArgumentsBad).kind;
        assert_eq!((kind("C_Verify"), kind("C_Decrypt")), (Kind::Ambiguous, Kind::Ambiguous));
        assert_eq!((kind("C_VerifyInit"), kind("C_Encrypt")), (Kind::Bug, Kind::Bug));
    }

    #[test]
    fn no_code_that_a_broken_hsm_may_say_blames_the_data() {
        for rv in [RvError::GeneralError, RvError::FunctionFailed, RvError::DeviceError, RvError::VendorDefined(1)] {
            assert_eq!(kind_of(rv), Kind::Ambiguous);
        }
    }

    #[test]
    fn no_single_refusal_makes_data_wrong() {
        use RvError::{EncryptedDataInvalid, EncryptedDataLenRange, SignatureInvalid, SignatureLenRange};
        for rv in [EncryptedDataInvalid, EncryptedDataLenRange, SignatureInvalid, SignatureLenRange] {
            assert_eq!(kind_of(rv), Kind::Ambiguous);
        }
    }
}
