//! The HSM: the one place where PKCS#11 is spoken.

mod command;
mod engine;
mod error;

pub use command::{Answer, Command, Place, Sealed};
pub use engine::{
    Engine as Hsm, ErrorCount, Feature, Gauges, IvMaker, OaepRoad, Outcome, Profile, Settings, TokenFacts,
    TokenSelector, WrappingKeyReport, end_process, init_token, init_wrapping_key,
};
pub use error::{HsmError, Kind};
