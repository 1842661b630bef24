//! What a service manager is told (sd_notify(3)): that the service is ready, reloads, stops, and lives, and in a line how it is.
//! Without `NOTIFY_SOCKET` in the environment nobody is told anything.

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

/// How often the manager is told how the service is, if it has not asked for more.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Who has started this process and wants to know.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    tell_every: Duration,
}

impl Supervisor {
    /// The one that the environment names, if it names one.
    pub fn of_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told how the service is");
                None
            }
        });
        Self { socket, tell_every: tell_every(env::var("WATCHDOG_USEC").ok().as_deref()) }
    }

    /// The service is up; what it began with, or has reloaded, is in effect.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The service takes up what has changed.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The service comes to its end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells, as long as this is waited for, that the service lives and whether it can do its work. If the threads that serve
    /// come to a standstill, so does this.
    pub(super) async fn follow(&self, kms: &Kms) {
        if self.socket.is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(self.tell_every);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
            let how = kms.ready().await.map_or_else(|why| format!("not ready: {why}"), |()| "ready".to_owned());
            self.tell(&format!("STATUS={}", how.replace('\n', " ")));
        }
    }

    /// One that does not listen is not waited for.
    fn tell(&self, text: &str) {
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

/// A third of the time after which the manager takes the service for dead.
fn tell_every(watchdog_usec: Option<&str>) -> Duration {
    let limit = watchdog_usec.and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
    limit.map_or(TELL_EVERY, |limit| TELL_EVERY.min(limit / 3).max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_three_times_before_its_patience_ends() {
        assert_eq!(tell_every(Some("3000000")), Duration::from_secs(1));
        assert_eq!(tell_every(Some("3600000000")), TELL_EVERY);
        assert_eq!((tell_every(None), tell_every(Some("soon"))), (TELL_EVERY, TELL_EVERY));
        assert!(!tell_every(Some("0")).is_zero());
    }
}
