//! The host of a worker: a process of its own, or a thread of this one.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;

use tokio::process::Child;
use tokio::sync::oneshot;

use crate::hsm::settings::Settings;

use super::Launch;
use super::serving::serve_on_thread;

/// The host of a worker that was started. A process is killed when this is dropped.
pub(super) enum Host {
    Process(Child),
    Thread(oneshot::Receiver<()>),
}

impl Host {
    /// Starts a worker at this end of a socket pair.
    pub(super) fn start(launch: &Launch, settings: &Settings, socket: UnixStream) -> io::Result<Self> {
        match launch {
            Launch::Program { program, arguments } => {
                // Its standard input is the socket; its log is ours.
                let mut process = std::process::Command::new(program);
                process.arg0("strongroom").args(arguments).envs(&settings.environment);
                process.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::null());
                tokio::process::Command::from(process).kill_on_drop(true).spawn().map(Self::Process)
            }
            Launch::Thread => {
                let (alive, ended) = oneshot::channel();
                let serve = move || {
                    let _ended_then: oneshot::Sender<()> = alive;
                    if let Err(error) = serve_on_thread(socket) {
                        tracing::error!(%error, "the worker of an HSM has failed");
                    }
                };
                thread::Builder::new().name("hsm-worker".to_owned()).spawn(serve)?;
                Ok(Self::Thread(ended))
            }
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) {
        match self {
            // An error means that there is no such process.
            Self::Process(child) => drop(child.wait().await),
            // Nothing is sent.
            Self::Thread(ended) => drop(ended.await),
        }
    }

    /// Kills it. A thread cannot be killed: it ends when its calls do.
    pub(super) async fn kill(&mut self) {
        match self {
            Self::Process(child) => drop(child.kill().await),
            Self::Thread(ended) => drop(ended.await),
        }
    }
}
