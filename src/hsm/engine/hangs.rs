//! Calls to an HSM that do not return.

use tokio::sync::watch;

/// Watches for calls that do not return.
pub(in crate::hsm) struct HangWatch {
    all: watch::Receiver<u64>,
    seen: u64,
}

impl HangWatch {
    pub(in crate::hsm) fn new(all: watch::Receiver<u64>) -> Self {
        Self { all, seen: 0 }
    }

    /// Waits until there are more; how many.
    pub(in crate::hsm) async fn more(&mut self) -> u64 {
        let seen = self.seen;
        match self.all.wait_for(|all| *all > seen).await.map(|all| *all) {
            Ok(all) => all - std::mem::replace(&mut self.seen, all),
            // The engine is gone.
            Err(_) => std::future::pending().await,
        }
    }
}
