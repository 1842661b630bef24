//! An engine that runs: a worker process, and the dispatcher of commands to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hsm::counts::{ErrorCount, Gauges};
use crate::hsm::dispatch::{Dispatcher, HangWatch};
use crate::hsm::engine::command::{Command, Destroy};
use crate::hsm::engine::profile::Profile;
use crate::hsm::error::HsmError;
use crate::hsm::process::{Launch, WorkerProcess};
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::{Keeping, Material};

/// How long the start of an engine may take; the trials of what an HSM can do take seconds on slow ones.
const START: Duration = Duration::from_secs(60);

/// An engine that runs. Nobody looks after it: that is the supervisor's work.
pub struct Backend {
    process: Arc<WorkerProcess>,
    dispatcher: Arc<Dispatcher>,
}

/// How an engine is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::hsm) struct EngineReport {
    pub(in crate::hsm) gauges: Gauges,
    pub(in crate::hsm) errors: Vec<ErrorCount>,
    /// Memory that its process takes up, in bytes; 0 until it is known.
    pub(in crate::hsm) resident_bytes: u64,
}

impl Backend {
    /// Starts an engine. `known` is what the HSM could do before. A process that has not opened its HSM when `stopping` ends is
    /// ended. Must be called in a runtime.
    ///
    /// # Errors
    /// Why its HSM could not be opened.
    pub async fn start(
        settings: &Settings,
        launch: &Launch,
        known: Option<&Profile>,
        stopping: impl Future<Output = ()>,
    ) -> Result<(Self, Profile), HsmError> {
        let started = tokio::time::timeout(START, WorkerProcess::start(launch, settings, known, stopping)).await;
        let (process, memory, profile) = started.unwrap_or_else(|_| Err(HsmError::timeout()))?;
        let dispatcher = Dispatcher::start(Arc::clone(&process), memory, settings);
        Ok((Self { process, dispatcher }, profile))
    }

    /// Does one command, or says why not, by the deadline.
    pub async fn call<C: Command>(&self, asker: Asker, command: &C, deadline: Instant) -> Result<C::Answer, HsmError> {
        self.dispatcher.call(asker, command, deadline).await
    }

    /// Destroys the token object of this material, if it has one, and forgets its handles. Of what is wrapped the HSM keeps
    /// nothing else.
    ///
    /// # Errors
    /// Why the object may still be there.
    pub async fn destroy(&self, material: &Arc<Material>, deadline: Instant) -> Result<(), HsmError> {
        if let Keeping::Token { .. } = &material.keeping {
            self.call(Asker::SERVICE, &Destroy { material: Arc::clone(material) }, deadline).await?;
        }
        self.dispatcher.forget(material.id);
        Ok(())
    }

    /// Logs in anew and asks for the known answer.
    pub async fn check_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.dispatcher.check_anew(deadline).await
    }

    /// Numbers of this moment.
    pub fn gauges(&self) -> Gauges {
        self.dispatcher.gauges()
    }

    /// Every code but CKR_OK that the HSM has answered so far, and how often.
    pub fn errors(&self) -> Vec<ErrorCount> {
        self.report().errors
    }

    /// How the engine is.
    pub(in crate::hsm) fn report(&self) -> EngineReport {
        let report = self.process.report();
        let mut errors = self.dispatcher.errors().all();
        errors.extend(report.errors);
        EngineReport { gauges: self.gauges(), errors, resident_bytes: report.resident_bytes }
    }

    /// A watch over calls that do not return.
    pub(in crate::hsm) fn hangs(&self) -> HangWatch {
        self.dispatcher.hangs()
    }

    /// True if the wrapping key, which was there when the engine started, is there no more.
    pub(in crate::hsm) fn has_lost_wrapping_key(&self) -> bool {
        self.process.heard().is_some_and(|report| report.lacks_wrapping_key)
    }

    /// How long ago the engine was last heard of.
    pub(in crate::hsm) fn silence(&self) -> Duration {
        self.process.silence()
    }

    /// Ends when the process of the engine has ended.
    pub(in crate::hsm) async fn ended(&self) {
        self.process.ended().await;
    }

    /// Takes no more calls, finishes those under way for as long as that may take, and ends; whether it did by itself.
    pub async fn retire(&self, patience: Duration) -> bool {
        let began = Instant::now();
        self.dispatcher.drain(patience).await;
        self.process.retire(patience.saturating_sub(began.elapsed())).await
    }
}
