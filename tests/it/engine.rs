//! The engine of one HSM by itself, which nobody looks after; in this process, or in one of the real program.

use std::future::pending;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use strongroom::hsm::command::Command;
use strongroom::hsm::{Backend, ErrorCount, Gauges, HsmError, Launch, Profile, Settings};
use strongroom::identity::Asker;
use strongroom::key::material::Material;
use tokio::runtime::Runtime;

/// How long an engine may take to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Where engines are served, for they outlive the runtimes of tests.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// A worker process of the real program.
pub fn program() -> Launch {
    Launch::Program { program: env!("CARGO_BIN_EXE_strongroom").into(), arguments: vec!["hsm-worker".to_owned()] }
}

/// Waits for something that is done where engines are served.
pub fn served<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (answer, answered) = mpsc::channel();
    RUNTIME.spawn(async move { answer.send(future.await) });
    answered.recv().unwrap()
}

/// An engine that runs. Clones are the same; with the last one it ends.
#[derive(Clone)]
pub struct Engine(Arc<Running>);

struct Running {
    backend: Arc<Backend>,
    profile: Arc<Profile>,
}

impl Engine {
    /// An engine whose module is in this process, where a test can look at what it has there.
    pub fn start(settings: Settings) -> Result<Self, HsmError> {
        Self::start_in(settings, Launch::Thread)
    }

    pub fn start_in(settings: Settings, launch: Launch) -> Result<Self, HsmError> {
        let started = served(async move { Backend::start(&settings, &launch, None, pending()).await });
        let (backend, profile) = started?;
        Ok(Self(Arc::new(Running { backend: Arc::new(backend), profile: Arc::new(profile) })))
    }

    pub async fn call<C: Command>(&self, command: C, deadline: Instant) -> Result<C::Answer, HsmError> {
        self.call_for(Asker::SERVICE, command, deadline).await
    }

    pub async fn call_for<C: Command>(
        &self,
        asker: Asker,
        command: C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        self.0.backend.call(asker, &command, deadline).await
    }

    pub async fn destroy(&self, material: &Arc<Material>, deadline: Instant) -> Result<(), HsmError> {
        self.0.backend.destroy(material, deadline).await
    }

    pub async fn check_anew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.0.backend.check_anew(deadline).await
    }

    pub fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.0.profile)
    }

    pub fn gauges(&self) -> Gauges {
        self.0.backend.gauges()
    }

    pub fn errors(&self) -> Vec<ErrorCount> {
        self.0.backend.errors()
    }

    /// Has it end, by itself within so long or else killed; whether it did by itself.
    pub fn retire(&self, patience: Duration) -> bool {
        let backend = Arc::clone(&self.0.backend);
        served(async move { backend.retire(patience).await })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let backend = Arc::clone(&self.backend);
        served(async move { backend.retire(FAREWELL).await });
    }
}
