//! Slots and tokens, as a module describes them, as far as we need it.
//!
//! Modules say there what cannot be: a clock without a time, text that ends in zeros, numbers that are none, a token that
//! cannot be read in a slot that nobody asked for. So nothing is read that is not used, what is used has some meaning whatever
//! its bytes are, and what is wrong in one slot is that slot's matter.

use std::fmt;

use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_EFFECTIVELY_INFINITE, CK_FLAGS, CK_INFO, CK_TOKEN_INFO, CK_ULONG, CK_UNAVAILABLE_INFORMATION, CK_UTF8CHAR,
    CK_VERSION, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED, CKF_TOKEN_INITIALIZED, CKF_USER_PIN_FINAL_TRY,
    CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_LOCKED,
};

use crate::hsm::engine::calls::raw::Functions;
use crate::hsm::error::HsmError;

/// A limit of sessions that is higher is none: openCryptoki says 2^64 - 2.
const MOST_SESSIONS: u64 = 1 << 20;

/// A token, as it describes itself.
#[derive(Debug, Clone)]
pub(in crate::hsm) struct Token {
    pub(in crate::hsm) slot: Slot,
    pub(in crate::hsm) label: String,
    pub(in crate::hsm) serial: String,
    pub(in crate::hsm) manufacturer: String,
    pub(in crate::hsm) model: String,
    pub(in crate::hsm) firmware: String,
    /// Sessions that it allows one application; `None` if it sets or tells no limit.
    pub(in crate::hsm) max_sessions: Option<u64>,
    flags: CK_FLAGS,
}

/// The tokens of all slots, and why some could not be read.
pub(in crate::hsm) struct Tokens {
    pub(in crate::hsm) all: Vec<Token>,
    pub(in crate::hsm) unread: Vec<HsmError>,
}

impl Tokens {
    /// Reads all tokens that there are.
    ///
    /// # Errors
    /// If the module does not say which slots have one. One that cannot be read is no error here.
    pub(in crate::hsm) fn read(functions: &Functions) -> Result<Self, HsmError> {
        let mut tokens = Self { all: Vec::new(), unread: Vec::new() };
        let mut slots = functions.slots_with_token()?;
        slots.sort_by_key(Slot::id);
        slots.dedup();
        for slot in slots {
            match Token::read(functions, slot) {
                Ok(token) => tokens.all.push(token),
                Err(error) => tokens.unread.push(error),
            }
        }
        Ok(tokens)
    }
}

impl Token {
    /// The token in this slot.
    pub(in crate::hsm) fn read(functions: &Functions, slot: Slot) -> Result<Self, HsmError> {
        let info = functions.token_info(slot).map_err(|error| error.in_slot(slot.id()))?;
        Ok(Self::of(slot, &info))
    }

    fn of(slot: Slot, info: &CK_TOKEN_INFO) -> Self {
        let limits = [info.ulMaxRwSessionCount, info.ulMaxSessionCount];
        Self {
            slot,
            label: text(&info.label),
            serial: text(&info.serialNumber),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            firmware: version(info.firmwareVersion),
            max_sessions: limits.into_iter().filter_map(limit).min(),
            flags: info.flags,
        }
    }

    pub(in crate::hsm) fn is_initialized(&self) -> bool {
        self.says(CKF_TOKEN_INITIALIZED)
    }

    pub(in crate::hsm) fn has_user(&self) -> bool {
        self.says(CKF_USER_PIN_INITIALIZED)
    }

    pub(in crate::hsm) fn user_is_locked(&self) -> bool {
        self.says(CKF_USER_PIN_LOCKED)
    }

    pub(in crate::hsm) fn is_last_try_of_user(&self) -> bool {
        self.says(CKF_USER_PIN_FINAL_TRY)
    }

    /// True if the security officer is locked, or would be by one more wrong PIN.
    pub(in crate::hsm) fn is_last_try_of_so(&self) -> bool {
        self.says(CKF_SO_PIN_LOCKED) || self.says(CKF_SO_PIN_FINAL_TRY)
    }

    fn says(&self, flag: CK_FLAGS) -> bool {
        self.flags & flag != 0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (serial {}, slot {})", self.label, self.serial, self.slot.id())
    }
}

/// Description and version of a module, for people.
pub(in crate::hsm) fn library(functions: &Functions) -> String {
    let describe = |CK_INFO { libraryDescription, libraryVersion, .. }: CK_INFO| {
        format!("{} {}", text(&libraryDescription), version(libraryVersion))
    };
    functions.info().map_or_else(|error| format!("unknown ({error})"), describe)
}

/// Text should be padded with blanks. Some modules end it with a zero byte, whatever comes after it.
fn text(field: &[CK_UTF8CHAR]) -> String {
    let written = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    String::from_utf8_lossy(written).trim_end().chars().map(shown).collect()
}

fn version(CK_VERSION { major, minor }: CK_VERSION) -> String {
    format!("{major}.{minor}")
}

/// A number of sessions, if it is one.
fn limit(told: CK_ULONG) -> Option<u64> {
    let is_one = told != CK_EFFECTIVELY_INFINITE && told != CK_UNAVAILABLE_INFORMATION;
    is_one.then_some(told).filter(|max| (1..=MOST_SESSIONS).contains(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_however_it_is_padded() {
        assert_eq!(text(b"rack 7          "), "rack 7");
        assert_eq!(text(b"rack 7\0\0\0\0\0\0\0\0\0\0"), "rack 7");
        assert_eq!(text(b"rack 7\0of yester"), "rack 7");
        assert_eq!(text(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!([text(&[b' '; 16]), text(&[0; 16])], ["", ""]);
        assert_eq!(text(b"a\x1b[31mb\xff\xff"), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_token_that_says_nothing_sensible_is_a_token() {
        let slot = Slot::try_from(3_u64).unwrap();
        let zeros = Token::of(slot, &CK_TOKEN_INFO::default());
        assert_eq!((zeros.max_sessions, zeros.is_initialized(), zeros.firmware.as_str()), (None, false, "0.0"));
        let no_time = CK_TOKEN_INFO { flags: CK_FLAGS::MAX, utcTime: [0xff; 16], ..CK_TOKEN_INFO::default() };
        assert!(Token::of(slot, &no_time).is_initialized());
        let limits = |rw, all| {
            let info = CK_TOKEN_INFO { ulMaxRwSessionCount: rw, ulMaxSessionCount: all, ..CK_TOKEN_INFO::default() };
            Token::of(slot, &info).max_sessions
        };
        assert_eq!(limits(CK_UNAVAILABLE_INFORMATION, 16), Some(16));
        assert_eq!(limits(8, CK_EFFECTIVELY_INFINITE), Some(8));
        assert_eq!(limits(CK_UNAVAILABLE_INFORMATION - 1, 0), None);
    }
}
