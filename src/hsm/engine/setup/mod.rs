//! One-shot jobs: what an operator orders of one HSM, each done by a worker process that then ends.
//!
//! So the module is never in the operator's process, finds the HSM's own `environment`, and no PIN is anywhere but in the
//! worker. A job is plain data and names PINs by their places.

mod joining;
mod probe;
mod token;
mod wrapping_key;

use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::hsm::settings::Settings;

use super::profile::as_json;

pub use joining::{Accept, Discard, Invitation, Invite, Invited, Prove, Release, Released, WrappingKeyProof};
pub use probe::Probe;
pub use token::{FindToken, InitToken, init_token};
pub use wrapping_key::{FindWrappingKey, Leaves, MakeWrappingKey, WrappingKeyReport, init_wrapping_key};

/// One job: what is in the table.
pub trait OneShot: CarryOut {
    /// The job, as it is sent to a worker process.
    fn sent(self) -> AnyOneShot;

    /// Its answer, as it was sent back.
    ///
    /// # Errors
    /// If it is the answer to another job.
    fn received(answer: AnyOneShotAnswer) -> Result<Self::Answer, HsmError>;
}

/// How a job is done.
pub trait CarryOut: Send + 'static {
    /// The type of its answer.
    type Answer: Send + 'static;

    /// Does it, in the process that has the module. Blocks.
    ///
    /// # Errors
    /// Why it was not done.
    fn run(self, settings: &Settings) -> Result<Self::Answer, HsmError>;
}

/// The table of jobs: of each its type, and how serde writes its answer where that is not its own form.
macro_rules! one_shots {
    ($($(#[$form:meta])? $job:ident),+ $(,)?) => {
        /// Any job, as it is sent to a worker process.
        #[derive(Serialize, Deserialize)]
        pub enum AnyOneShot {
            $(#[doc = concat!("[`", stringify!($job), "`]")] $job($job)),+
        }

        /// The answer to any job, as it is sent back.
        #[derive(Serialize, Deserialize)]
        pub enum AnyOneShotAnswer {
            $(
                #[doc = concat!("Of [`", stringify!($job), "`].")]
                $job($(#[$form])? <$job as CarryOut>::Answer)
            ),+
        }

        impl AnyOneShot {
            /// Does it, in the process that has the module. Blocks.
            pub(in crate::hsm) fn run(self, settings: &Settings) -> Result<AnyOneShotAnswer, HsmError> {
                match self {
                    $(Self::$job(job) => job.run(settings).map(AnyOneShotAnswer::$job)),+
                }
            }
        }

        $(impl OneShot for $job {
            fn sent(self) -> AnyOneShot {
                AnyOneShot::$job(self)
            }

            fn received(answer: AnyOneShotAnswer) -> Result<Self::Answer, HsmError> {
                match answer {
                    AnyOneShotAnswer::$job(answer) => Ok(answer),
                    _ => Err(HsmError::new(Kind::Bug, "worker process", "the answer is to another order")),
                }
            }
        })+
    };
}

one_shots! {
    Accept,
    Discard,
    FindToken,
    FindWrappingKey,
    InitToken,
    Invite,
    MakeWrappingKey,
    #[serde(with = "as_json")] Probe,
    Prove,
    Release,
}
