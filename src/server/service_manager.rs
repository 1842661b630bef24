//! Notifications to a service manager (sd_notify(3)): the service is ready, reloads, stops, is alive (watchdog), and its state in a
//! line. Without `NOTIFY_SOCKET` in the environment nothing is sent.

use std::{
    env,
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use crate::kms::Kms;

/// The interval of reports, if the manager does not want them more often.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The service manager that has started this process, if one wants notifications.
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    report_every: Duration,
}

impl ServiceManager {
    /// The service manager that the environment names, if it names one.
    pub fn of_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told how the service is");
                None
            }
        });
        Self { socket, report_every: report_every(env::var("WATCHDOG_USEC").ok().as_deref()) }
    }

    /// Tells that the service is up, or has reloaded.
    pub fn ready(&self) {
        self.notify("READY=1");
    }

    /// Tells that the service reloads.
    pub(super) fn reloading(&self) {
        self.notify("RELOADING=1");
    }

    /// Tells that the service stops.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells, at intervals and without end, that the service is alive and whether it is ready. It runs on the threads that serve,
    /// so that it stops if they are blocked.
    pub(super) async fn report(&self, kms: &Kms) {
        if self.socket.is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(self.report_every);
        loop {
            ticks.tick().await;
            self.notify("WATCHDOG=1");
            let state = kms.ready().await.map_or_else(|why| format!("not ready: {why}"), |()| "ready".to_owned());
            self.notify(&format!("STATUS={}", state.replace('\n', " ")));
        }
    }

    /// Sends a notification. A manager that does not read it is not waited for.
    fn notify(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// A third of the time after which the manager takes the service for dead, and at most [`REPORT_EVERY`].
fn report_every(watchdog_usec: Option<&str>) -> Duration {
    let limit = watchdog_usec.and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
    limit.map_or(REPORT_EVERY, |limit| REPORT_EVERY.min(limit / 3).max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_reports_before_the_watchdog_of_the_manager_acts() {
        assert_eq!(report_every(Some("3000000")), Duration::from_secs(1));
        assert_eq!(report_every(Some("3600000000")), REPORT_EVERY);
        assert_eq!((report_every(None), report_every(Some("soon"))), (REPORT_EVERY, REPORT_EVERY));
        assert!(!report_every(Some("0")).is_zero());
    }
}
