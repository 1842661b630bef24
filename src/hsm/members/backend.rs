//! The road to an engine: in this process, or in a worker process of its own.
//!
//! In the service's own process a module is not initialised anew, for C_Finalize would end the sessions of threads that hang in
//! it. So a token that needs that, as SoftHSM2's does after its directory was away, needs `isolation = "process"`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hsm::engine::command::{Check, Command};
use crate::hsm::engine::profile::Profile;
use crate::hsm::engine::{Engine, HangWatch};
use crate::hsm::error::HsmError;
use crate::hsm::process::{Launch, Report, WorkerProcess};
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::MaterialId;
use serde::{Deserialize, Serialize};

/// How long the start of an engine may take; the trials of what an HSM can do take seconds on slow ones.
const START: Duration = Duration::from_secs(60);

/// The place of the module: a process of its own, or the service's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In a worker process of its own, which is watched and replaced.
    #[default]
    Process,
    /// In the service's own process: a crash of the module is a crash of the service.
    None,
}

/// An engine that runs.
pub(in crate::hsm) enum Backend {
    Here(Engine),
    There(Arc<WorkerProcess>),
}

impl Backend {
    /// Starts an engine; without a way to launch a process, in this one. `known` is what the HSM could do before. A process
    /// that has not opened its HSM when `stopping` ends is ended.
    pub(in crate::hsm) async fn start(
        settings: &Settings,
        launch: Option<&Launch>,
        known: Option<&Profile>,
        stopping: impl Future<Output = ()>,
    ) -> Result<(Self, Profile), HsmError> {
        let started = async {
            match launch {
                Some(launch) => {
                    let started = WorkerProcess::start(launch, settings, known, stopping).await;
                    started.map(|(there, profile)| (Self::There(there), profile))
                }
                None => start_here(settings.clone(), known.cloned()).await,
            }
        };
        tokio::time::timeout(START, started).await.unwrap_or_else(|_| Err(HsmError::timeout()))
    }

    /// Does one command, or says why not, by the deadline.
    pub(in crate::hsm) async fn call<C: Command>(
        &self,
        asker: Asker,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        match self {
            Self::Here(engine) => engine.call_for(asker, command.clone(), deadline).await,
            Self::There(process) => process.call(asker, command, deadline).await,
        }
    }

    /// Logs in anew and asks for the known answer.
    pub(in crate::hsm) async fn check_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        match self {
            Self::Here(engine) => {
                engine.renew(deadline).await?;
                engine.call(Check, deadline).await
            }
            Self::There(process) => process.check_anew(deadline).await,
        }
    }

    /// Forgets the handles of this material.
    pub(in crate::hsm) fn forget(&self, material: MaterialId) {
        match self {
            Self::Here(engine) => engine.forget(material),
            Self::There(process) => process.forget(material),
        }
    }

    /// How the engine is.
    pub(in crate::hsm) fn report(&self) -> Report {
        match self {
            Self::Here(engine) => Report::of(engine),
            Self::There(process) => process.report(),
        }
    }

    /// A watch over calls that do not return.
    pub(in crate::hsm) fn hangs(&self) -> HangWatch {
        match self {
            Self::Here(engine) => engine.hangs(),
            Self::There(process) => process.hangs(),
        }
    }

    /// True if the wrapping key, which was there when the engine started, is there no more.
    pub(in crate::hsm) fn has_lost_wrapping_key(&self) -> bool {
        match self {
            Self::Here(engine) => engine.lacks_wrapping_key(),
            Self::There(process) => process.heard().is_some_and(|report| report.lacks_wrapping_key),
        }
    }

    /// How long ago the engine was last heard of.
    pub(in crate::hsm) fn silence(&self) -> Duration {
        match self {
            Self::Here(_) => Duration::ZERO,
            Self::There(process) => process.silence(),
        }
    }

    /// Ends when the process of the engine has ended.
    pub(in crate::hsm) async fn ended(&self) {
        match self {
            Self::Here(_) => std::future::pending().await,
            Self::There(process) => process.ended().await,
        }
    }

    /// Takes no more calls, finishes those under way for as long as that may take, and ends; whether it did by itself.
    pub(in crate::hsm) async fn retire(&self, patience: Duration) -> bool {
        match self {
            Self::Here(engine) => {
                engine.stop();
                let engine = engine.clone();
                tokio::task::spawn_blocking(move || engine.wait_until_stopped(patience)).await.unwrap_or(false)
            }
            Self::There(process) => process.retire(patience).await,
        }
    }
}

async fn start_here(settings: Settings, known: Option<Profile>) -> Result<(Backend, Profile), HsmError> {
    let started = tokio::task::spawn_blocking(move || Engine::start_knowing(settings, known)).await;
    let engine = started.map_err(|error| HsmError::misconfigured("start", error.to_string()))??;
    let profile = Profile::clone(&engine.profile());
    Ok((Backend::Here(engine.with_wrapping_key()?), profile))
}
