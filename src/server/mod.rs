//! Puts the service together and serves it: machines → service → doors → connections.

mod certificate;
mod connections;
mod exit;
pub mod file_descriptors;
mod handlers;
mod http;
mod listener;
mod machines;
pub mod operator;
mod reload;
mod serve;
mod service_manager;
mod shutdown;
mod start;

use std::{num::NonZero, time::Duration};

use tokio::runtime::Runtime;

pub use self::{
    exit::ExitError,
    listener::Listener,
    machines::{admin, open_store},
    reload::{ReloadSignal, ReloadSource, SetLogFilter},
    serve::serve,
    service_manager::ServiceManager,
    shutdown::ShutdownSignal,
    start::{Service, start},
};

/// How long a stop waits for pending requests.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long to wait for an HSM where nothing can be done without one.
pub(crate) const HSM_START: Duration = Duration::from_secs(60);
/// How long a stop waits for the HSM's threads or worker processes.
pub(crate) const HSM_STOP: Duration = Duration::from_secs(4);

/// The runtime of the doors. It has as many threads as half of the cores, for the HSM's module keeps the other half busy, and
/// more threads would only wake each other up. `TOKIO_WORKER_THREADS` sets another number.
///
/// # Errors
/// If no threads can be started.
pub fn runtime() -> Result<Runtime, ExitError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads(cores.div_ceil(2));
    }
    builder.enable_all().build().map_err(ExitError::new)
}
