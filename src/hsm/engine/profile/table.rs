//! The table of what an HSM can do, which a person can read at a rack.

use std::fmt;

use crate::key::material::WrapMechanism;

use super::{OaepMethod, Profile, TokenFacts};

/// A table that a person can read at a rack.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenFacts { label, serial, manufacturer, model, firmware, library } = &self.token;
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<46} {value}");
        row("token", &format_args!("{label} (serial {serial})"))?;
        row("made by", &format_args!("{manufacturer}, {model}, firmware {firmware}"))?;
        row("module", library)?;
        match self.max_sessions {
            Some(max) => row("sessions", &format_args!("at most {max}"))?,
            None => row("sessions", &"no limit told")?,
        }
        for feature in &self.features {
            row(&feature.name, &feature.outcome)?;
        }
        row("=> material is wrapped with", &self.wrap.map_or("nothing: token objects only", wrap_name))?;
        row("=> RSAES_OAEP_SHA_256 is done", &self.oaep_sha256)?;
        row("=> keys are bound to mechanisms", &self.allowed)?;
        row("=> the IV of AES-GCM is made by", &"this host, from the randomness of both")
    }
}

impl fmt::Display for OaepMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "by the HSM",
            Self::RawWithHostUnpadding => "by raw RSA in the HSM and un-padding on this host",
            Self::Refused => "not at all: no RSA key can be made for encryption",
        })
    }
}

fn wrap_name(mechanism: WrapMechanism) -> &'static str {
    match mechanism {
        WrapMechanism::AesKeyWrapKwp => "AES_KEY_WRAP_KWP",
        WrapMechanism::AesKeyWrapPad => "AES_KEY_WRAP_PAD",
    }
}
