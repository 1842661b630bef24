//! Events that befall the whole HSM, as the one process sees it that has the module loaded.

use cryptoki_sys::CKR_TOKEN_NOT_PRESENT;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum World {
    /// All sessions are closed; their handles answer CKR_SESSION_HANDLE_INVALID.
    KillSessions,
    /// Nobody is logged in until C_Login comes again; handles of private objects are void.
    LogOut,
    /// Sessions, login and session objects are gone; token objects have other handles.
    Reboot,
    /// Objects have other handles, session objects are gone, and for so long every call answers CKR_DEVICE_ERROR.
    Failover {
        millis: u64,
    },
    /// Every call answers this code; sessions and login are gone. Until `Return`.
    Vanish {
        code: u64,
    },
    Return,
    /// No more sessions than this are opened; one too many answers the code.
    CapSessions {
        sessions: usize,
        code: u64,
    },
    UncapSessions,
    /// So many wrong PINs in a row lock the PIN, whichever process gives them.
    LockPinAfter {
        tries: u32,
    },
    /// The PIN is not locked, and nothing has been counted.
    ResetPin,
    /// Token objects with this CKA_ID, or all of them, are not found, and their handles are void. Until `Show`.
    Hide {
        id: Option<Vec<u8>>,
    },
    Show,
    /// C_FindObjects gives each object twice, with two handles.
    DuplicateFinds {
        on: bool,
    },
    /// Every random byte is this one.
    ConstantRandom {
        byte: Option<u8>,
    },
    /// Whatever makes an object answers CKR_DEVICE_MEMORY.
    Full {
        on: bool,
    },
    /// Nothing of the above holds any more.
    Calm,
}

impl World {
    /// The token is pulled out.
    pub fn vanish() -> Self {
        Self::Vanish { code: CKR_TOKEN_NOT_PRESENT }
    }

    /// Whether it lasts, so that an instance that comes later must be told.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Vanish { .. } | Self::CapSessions { .. } | Self::LockPinAfter { .. } | Self::Hide { .. } => true,
            Self::DuplicateFinds { on } | Self::Full { on } => *on,
            Self::ConstantRandom { byte } => byte.is_some(),
            _ => false,
        }
    }

    /// Whether it puts an end to an earlier event that lasts.
    pub fn ends(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Calm, _) | (Self::Return, Self::Vanish { .. }) => true,
            (Self::UncapSessions, Self::CapSessions { .. }) | (Self::Show, Self::Hide { .. }) => true,
            (Self::Hide { .. }, Self::Hide { .. }) => false,
            _ => std::mem::discriminant(self) == std::mem::discriminant(earlier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_lasts_is_ended_by_its_opposite_or_by_calm() {
        assert!(World::vanish().lasts() && !World::Reboot.lasts() && !World::Full { on: false }.lasts());
        assert!(World::Return.ends(&World::vanish()) && World::Calm.ends(&World::Full { on: true }));
        assert!(World::Full { on: false }.ends(&World::Full { on: true }) && !World::Show.ends(&World::vanish()));
        let hide = |byte| World::Hide { id: Some(vec![byte]) };
        assert!(!hide(1).ends(&hide(2)) && World::Show.ends(&hide(1)));
    }
}
