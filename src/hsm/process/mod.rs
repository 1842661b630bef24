//! Worker processes, in which the modules of HSMs are, and the conversation with them.

mod frames;
mod host;
mod messages;
mod one_shot;
mod serving;
mod worker_process;

use std::path::PathBuf;
use std::time::Duration;

pub use one_shot::carry_out;
pub use serving::serve_as_worker;

pub(super) use worker_process::{WorkerProcess, ended};

/// How long the threads of an engine have to leave the module.
pub(super) const FAREWELL: Duration = Duration::from_secs(3);

/// How the worker of an HSM is started.
#[derive(Debug, Clone)]
pub enum Launch {
    /// In a process of its own.
    Program {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// On a thread of this process, so that tests can look at what it has in the module. Everything else is the same.
    Thread,
}
