//! Worker processes, in which the modules of HSMs are, and the conversation with them.

mod frames;
mod messages;
mod one_shot;
mod serving;
mod worker_process;

use std::path::PathBuf;
use std::time::Duration;

pub use one_shot::carry_out;
pub use serving::serve_as_worker;

pub(super) use messages::Report;
pub(super) use worker_process::WorkerProcess;

/// How long the threads of an engine have to leave the module.
pub(super) const FAREWELL: Duration = Duration::from_secs(3);

/// How a worker process is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}
