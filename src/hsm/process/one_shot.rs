//! One-shot jobs: each has a worker process of its own.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::hsm::engine::setup::OneShot;
use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;

use super::frames::Inbox;
use super::messages::{FromWorker, ToWorker};
use super::worker_process::{held_pin, keep, not_started, reply, spawn};
use super::{FAREWELL, Launch};

/// How long a job may take: RSA keys of 4096 bits are made in one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has a worker process of its own do one job with an HSM, and waits for its end.
///
/// # Errors
/// Why it was not done.
pub async fn carry_out<O: OneShot>(launch: &Launch, settings: &Settings, job: O) -> Result<O::Answer, HsmError> {
    let pin = held_pin(settings).await?;
    let first = ToWorker::OneShot { settings: Box::new(settings.clone()), pin, job: Box::new(job.sent()) };
    let (host, port) = spawn(launch, settings, None, &first).map_err(not_started)?;
    let (kill, killed) = mpsc::channel(1);
    let (ending, _over) = watch::channel(false);
    let mut ended = tokio::spawn(keep(host, settings.clone(), killed, ending));
    let mut inbox = Inbox::default();
    let done = reply(&port, &mut inbox, |response| match response {
        FromWorker::CarriedOut(done) => Some(done),
        _ => None,
    });
    let done = tokio::time::timeout(PATIENCE, done).await.unwrap_or_else(|_| Err(HsmError::timeout()));
    // One that has answered ends by itself, unless the module does not let it.
    if tokio::time::timeout(FAREWELL, &mut ended).await.is_err() {
        let _ = kill.try_send(());
        let _ = ended.await;
    }
    done.and_then(O::received)
}
