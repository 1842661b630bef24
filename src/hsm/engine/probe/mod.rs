//! The prober: an HSM's abilities are found out by trying them, for mechanism lists lie (SoftHSM2 lists OAEP and takes only SHA-1).

mod key_specs;
mod refusal;
pub(in crate::hsm) mod round_trips;
pub(in crate::hsm) mod trust;

use cryptoki::session::Session;

use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::calls::session_calls::SessionCalls;
use super::profile::bindings::AllowedMechanisms;
use super::profile::{IvMaker, OaepMethod, Profile, TokenFacts};
use super::token;
use super::token::slots::{self, Token};
use refusal::Sessions;

/// Tries what an HSM can do, whatever that is: one that the service cannot work with, too.
pub fn probe(settings: &Settings) -> Result<Profile, HsmError> {
    token::visit_token(settings, |calls, module, token, turn| {
        drop(turn);
        Profile::of(calls, &|| module.open_another(token.slot), token, settings.allow_raw_rsa, None)
    })
}

impl Profile {
    /// The profile of this HSM: as it is known, or as it is found out now. `calls` must be logged in; `open` opens a session beside
    /// it.
    pub(in crate::hsm) fn of<'a>(
        calls: SessionCalls<'a>,
        open: &'a dyn Fn() -> Result<Session, HsmError>,
        token: &Token,
        allow_raw_rsa: bool,
        known: Option<Self>,
    ) -> Result<Self, HsmError> {
        let facts = TokenFacts::of(token, slots::library(calls.functions));
        match known.filter(|known| known.token == facts) {
            Some(known) => Ok(Self { max_sessions: token.max_sessions, allowed: known.choose_allowed(), ..known }),
            None => Self::probe(&mut Sessions::new(calls, open)?, facts, token.max_sessions, allow_raw_rsa),
        }
    }

    /// Tries everything.
    fn probe(
        sessions: &mut Sessions<'_>,
        token: TokenFacts,
        max_sessions: Option<u64>,
        allow_raw_rsa: bool,
    ) -> Result<Self, HsmError> {
        let mut profile = Self {
            token,
            features: round_trips::run(sessions)?,
            wrap: None,
            oaep_sha256: OaepMethod::Refused,
            gcm_iv: IvMaker::Host,
            max_sessions,
            allowed: AllowedMechanisms::default(),
        };
        profile.wrap = profile.choose_wrap();
        profile.features.extend(key_specs::run(sessions, profile.wrap)?);
        profile.oaep_sha256 = profile.choose_oaep(allow_raw_rsa);
        profile.allowed = profile.choose_allowed();
        Ok(profile)
    }
}

impl TokenFacts {
    fn of(token: &Token, library: String) -> Self {
        let Token { label, serial, manufacturer, model, firmware, .. } = token.clone();
        Self { label, serial, manufacturer, model, firmware, library }
    }
}
