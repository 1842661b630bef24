//! SIGTERM and SIGINT, which ask the program to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{DRAIN_TIME, ExitError};

/// The signals that ask the program to end.
pub struct ShutdownSignal {
    terminate: Signal,
    interrupt: Signal,
    was_requested: bool,
}

impl ShutdownSignal {
    /// Listens from now on. Before, the signals end the program at once.
    ///
    /// # Errors
    /// If the signals cannot be listened for.
    pub fn listen() -> Result<Self, ExitError> {
        let listen = |kind| signal(kind).map_err(ExitError::new);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            was_requested: false,
        })
    }

    /// Waits until the program is asked to end. Once it was, this ends at once.
    pub async fn requested(&mut self) {
        if !self.was_requested {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            self.was_requested = true;
        }
    }

    /// Lets `start` go on for a while when the program is asked to end: SoftHSM2 loses its token when the program ends inside a
    /// login.
    ///
    /// # Errors
    /// Those of `start`; that it did not come to its end in time.
    pub async fn delayed_by<T>(&mut self, start: impl Future<Output = Result<T, ExitError>>) -> Result<T, ExitError> {
        tokio::select! {
            started = start => started,
            () = async { self.requested().await; tokio::time::sleep(DRAIN_TIME).await } => {
                Err(ExitError::new("asked to end while starting"))
            }
        }
    }
}
