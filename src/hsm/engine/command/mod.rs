//! The commands that the HSM can be asked to do: a file for each, and its line in the table.
//!
//! A command is plain data, no handles, no closures: it may be queued, dropped, repeated on another session or another HSM,
//! or sent to another process.

mod handle_id;
mod run_context;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fair_queue::CostClass;
use crate::hsm::error::HsmError;
use crate::key::bytes;
use crate::key::material::Material;

pub(in crate::hsm) use run_context::another;

pub use crate::hsm::engine::calls::agreement::Encapsulated;
pub use crate::hsm::engine::calls::data_key_pairs::DataKeyPair;
pub use crate::hsm::engine::calls::generating::Place;
pub use crate::hsm::engine::calls::importing::Imported;
pub use crate::hsm::engine::calls::session_calls::Sealed;
pub use crate::hsm::memory::Lane;
pub(in crate::hsm) use handle_id::{Half, HandleId};
pub(in crate::hsm) use run_context::RunContext;
pub use seal_random::SealedRandom;

/// One thing to do in the HSM: what is in the table.
pub trait Command: Perform {
    /// The command, as it is sent to another process.
    fn sent(&self) -> AnyCommand<'_>;

    /// Its answer, as it was sent back.
    ///
    /// # Errors
    /// If it is the answer to another command.
    fn received(answer: AnyAnswer) -> Result<Self::Answer, HsmError>;
}

/// How a command is done. Everything that the engine has to know of it is said here, in its own file.
pub trait Perform: Clone + Send + Sync + 'static {
    /// The type of its answer.
    type Answer: Send + Sync + 'static;

    /// How long it may be expected to take: give or take some random bytes, a command that is AES is one call.
    const CLASS: CostClass = CostClass::Other;

    /// True if the HSM judges the caller's data, so that a refusal may be the data's fault.
    const JUDGES_DATA: bool = false;

    /// The object that must be in the HSM before it can be done.
    fn needs(&self) -> Needs<'_> {
        Needs::Nothing
    }

    /// The material that it is about: a member of the key store that has not got it is not asked.
    fn material(&self) -> Option<&Arc<Material>> {
        match self.needs() {
            Needs::SecretHalf(material) | Needs::PublicHalf(material) => Some(material),
            Needs::Nothing | Needs::KnownAnswer => None,
        }
    }

    /// The threads that do it.
    fn lane(&self) -> Lane {
        Lane::Work
    }

    /// True if doing it twice is the same as doing it once, as far as the HSM's objects are concerned.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Does it: the calls to the HSM, on one session.
    fn run(&self, context: &RunContext<'_>) -> Result<Self::Answer, HsmError>;

    /// Notes in the answer which HSM made it: an object on it is to be found again.
    fn note_member(_answer: &mut Self::Answer, _member: &str) {}
}

/// The object that must be in the HSM before a command can be done.
#[derive(Clone, Copy)]
pub enum Needs<'a> {
    /// Nothing.
    Nothing,
    /// A handle of a secret key, or of the private half of a pair.
    SecretHalf(&'a Arc<Material>),
    /// A handle of the public half of a pair.
    PublicHalf(&'a Arc<Material>),
    /// The key of the known answer, which is made with each login.
    KnownAnswer,
}

impl<'a> Needs<'a> {
    /// The handle that is needed, and the material it is a handle of.
    pub(in crate::hsm) fn handle(self) -> Option<(HandleId, &'a Arc<Material>)> {
        let (half, material) = match self {
            Self::SecretHalf(material) => (Half::Secret, material),
            Self::PublicHalf(material) => (Half::Public, material),
            Self::Nothing | Self::KnownAnswer => return None,
        };
        Some((HandleId { material: material.id, half }, material))
    }
}

/// The table of commands: of each its file, its type, and, where the answer is bare bytes, how serde writes it.
macro_rules! commands {
    ($($(#[$form:meta])? $file:ident::$command:ident),+ $(,)?) => {
        $(mod $file; pub use $file::$command;)+

        /// Any command, as it is sent to another process. What is sent is borrowed, so nothing is copied.
        #[derive(Serialize, Deserialize)]
        pub enum AnyCommand<'a> {
            $(#[doc = concat!("[`", stringify!($command), "`]")] $command(Cow<'a, $command>)),+
        }

        /// The answer to any command, as it is sent back.
        #[derive(Serialize, Deserialize)]
        pub enum AnyAnswer {
            $(
                #[doc = concat!("Of [`", stringify!($command), "`].")]
                $command($(#[$form])? <$command as Perform>::Answer)
            ),+
        }

        impl AnyCommand<'_> {
            /// Does it: the calls to the HSM, on one session.
            pub(in crate::hsm) fn run(&self, context: &RunContext<'_>) -> Result<AnyAnswer, HsmError> {
                match self {
                    $(Self::$command(command) => command.run(context).map(AnyAnswer::$command)),+
                }
            }
        }

        $(impl Command for $command {
            fn sent(&self) -> AnyCommand<'_> {
                AnyCommand::$command(Cow::Borrowed(self))
            }

            fn received(answer: AnyAnswer) -> Result<Self::Answer, HsmError> {
                match answer {
                    AnyAnswer::$command(answer) => Ok(answer),
                    _ => Err(another()),
                }
            }
        })+
    };
}

commands! {
    agree::Agree,
    check::Check,
    decapsulate::Decapsulate,
    decrypt::Decrypt,
    destroy::Destroy,
    encapsulate::Encapsulate,
    #[serde(with = "bytes")] encrypt::Encrypt,
    #[serde(with = "bytes")] encrypt_for::EncryptFor,
    generate::Generate,
    generate_carrier::GenerateCarrier,
    generate_pair::GeneratePair,
    import::Import,
    #[serde(with = "bytes")] mac::Mac,
    open::Open,
    random::Random,
    seal::Seal,
    seal_random::SealRandom,
    #[serde(with = "bytes")] sign::Sign,
    verify::Verify,
    verify_mac::VerifyMac,
}
