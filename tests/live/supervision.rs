//! What a service manager hears: that the service is ready, lives, reloads and stops (sd_notify(3)).

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::server::Server;

/// A manager's socket.
pub struct Manager(UnixDatagram);

impl Manager {
    pub fn of(server: &Server) -> Self {
        let socket = UnixDatagram::bind(server.root().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("something is said");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// What is said until this is, which it is last.
    pub fn hears_until(&self, last: &str) -> Vec<String> {
        let (mut heard, began) = (vec![self.hears()], Instant::now());
        while !heard.last().is_some_and(|text| text.starts_with(last)) {
            assert!(began.elapsed() < Duration::from_secs(20), "{last} is not said: {heard:?}");
            heard.push(self.hears());
        }
        heard
    }
}

#[test]
fn the_manager_hears_of_every_turn_and_that_the_service_lives() {
    let server = Server::new();
    let manager = Manager::of(&server);
    let socket = server.root().join("notify").display().to_string();
    let mut server = server.with("NOTIFY_SOCKET", socket).with("WATCHDOG_USEC", 300_000);
    server.start();
    assert_eq!(manager.hears(), "READY=1");
    manager.hears_until("STATUS=ready");
    let began = Instant::now();
    for _ in 0..3 {
        manager.hears_until("WATCHDOG=1");
    }
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    server.signal(Signal::HUP);
    manager.hears_until("RELOADING=1");
    manager.hears_until("READY=1");
    server.terminate();
    manager.hears_until("STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}
