//! A store that cannot be written for a while, in several ways, while clients change things: what was acknowledged is there, what was
//! refused is not, and once the fault is over it goes on by itself.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    effects::{Comparison, Load},
    server::{Server, within},
    volume::Volume,
};

const CLIENTS: usize = 8;
/// Each fault comes so often; with `STRONGROOM_ALL=1` ten times as often.
const FAULTS: usize = 2;
const SOON: Duration = Duration::from_secs(30);
/// By when it is known that the store cannot be written, and by when it is written again.
const NOTICED: Duration = Duration::from_secs(6);
const HEALED: Duration = Duration::from_secs(2);
/// Room for the database and its write-ahead log.
const ROOM_KIB: usize = 16 << 10;
/// How much longer a file may become than the audit trail is. The write-ahead log is longer soon.
const MARGIN: u64 = 200 << 10;

fn faults() -> usize {
    if std::env::var_os("STRONGROOM_ALL").is_some() { 10 * FAULTS } else { FAULTS }
}

struct Setting {
    volume: Volume,
    server: Server,
    shared_key: String,
    comparison: Comparison,
    marks: AtomicUsize,
    acknowledged: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

impl Setting {
    fn new() -> Option<Self> {
        let volume = Volume::mount(ROOM_KIB)?;
        let store = volume.file("strongroom.sqlite");
        let mut server = Server::new().with("STRONGROOM__STORE__PATH", store.display()).with_prelude("trap '' XFSZ");
        server.start();
        let shared_key = server.new_key();
        let comparison = Comparison::of(store, server.data().join("audit.jsonl"));
        let (marks, acknowledged, refused) = (AtomicUsize::new(0), Mutex::default(), Mutex::default());
        Some(Self { volume, server, shared_key, comparison, marks, acknowledged, refused })
    }

    /// No file of the server may become longer than a little more than the audit trail.
    fn limit_files(&self) {
        let trail = self.server.data().join("audit.jsonl").metadata().unwrap().len();
        self.set_limit(&(trail + MARGIN).to_string());
    }

    fn set_limit(&self, bytes: &str) {
        let (pid, limit) = (self.server.pid().to_string(), format!("--fsize={bytes}:unlimited"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }

    /// Has clients change things while the store cannot be written, and afterwards.
    fn survives(&mut self, what: &str, begin: impl Fn(&Self), end: impl Fn(&Self)) {
        let over = AtomicBool::new(false);
        let (done, refused) = (|| self.acknowledged.lock().unwrap().len(), || self.refused.lock().unwrap().len());
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| self.load().go_on(&over));
            }
            let _end = Over(&over);
            let before = done();
            assert!(within(SOON, || done() > before + 30), "nothing is done");
            let before = refused();
            begin(self);
            assert!(within(SOON, || refused() > before + 20), "nothing is refused");
            let began = Instant::now();
            assert!(within(NOTICED, || self.server.get("/readyz").0 == 503), "ready, though nothing can be written");
            let (noticed, why) = (began.elapsed(), self.server.get("/readyz").1);
            end(self);
            let (ended, before) = (Instant::now(), done());
            assert!(within(HEALED, || done() > before), "nothing is done though the fault is over");
            let healed = ended.elapsed();
            assert!(within(HEALED, || self.server.get("/readyz").0 == 200), "{}", self.server.get("/readyz").1);
            assert!(within(SOON, || done() > before + 30), "nothing is done");
            println!("{what}: {}, known after {noticed:.1?}; written again after {healed:.1?}", why.trim_end());
        });
        self.comparison.assert_same(&self.acknowledged.lock().unwrap());
        self.comparison.assert_not_done(&self.refused.lock().unwrap());
    }

    fn load(&self) -> Load<'_> {
        Load {
            address: self.server.address(),
            credentials: self.server.administrator(),
            shared_key: &self.shared_key,
            marks: &self.marks,
            acknowledged: &self.acknowledged,
            refused: &self.refused,
        }
    }

    /// It stops as ever, which writes what the sweeps write, and nothing of the faults is left.
    fn stops_well(mut self) {
        let before = self.server.stderr().len();
        assert_eq!(self.server.stop().code(), Some(0));
        let log = self.server.stderr();
        assert!(!log.contains("transaction depth"), "a connection was kept after it had failed");
        assert!(!log[before..].contains("background work failed"), "{}", &log[before..]);
        let (done, refused) = (self.acknowledged.lock().unwrap().len(), self.refused.lock().unwrap().len());
        println!("{done} changes acknowledged, all there; {refused} refused, none there");
    }
}

/// Ends the load, also when the test has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_store_on_a_full_volume_goes_on_when_there_is_room() {
    let Some(mut setting) = Setting::new() else { return };
    for _ in 0..faults() {
        setting.survives("a full volume", |setting| setting.volume.fill(), |setting| setting.volume.make_room());
    }
    setting.stops_well();
}

#[test]
fn a_store_whose_writes_fail_goes_on_when_they_succeed() {
    let Some(mut setting) = Setting::new() else { return };
    for _ in 0..faults() {
        setting.survives("failing writes", Setting::limit_files, |setting| setting.set_limit("unlimited"));
    }
    setting.stops_well();
}

#[test]
fn a_store_on_a_read_only_volume_goes_on_when_it_can_be_written() {
    let Some(mut setting) = Setting::new() else { return };
    let read_only = |setting: &Setting| {
        let says = |what: &str| within(SOON, || setting.server.get("/readyz").1.contains(what));
        // Who has a file open goes on writing, so a write must fail first.
        setting.volume.fill();
        assert!(says("no room left"), "{:?}", setting.server.get("/readyz"));
        setting.volume.make_read_only();
        assert!(says("the database is not available"), "{:?}", setting.server.get("/readyz"));
        setting.volume.make_room();
    };
    for _ in 0..faults() {
        setting.survives("a read-only volume", read_only, |setting| setting.volume.make_writable());
    }
    setting.stops_well();
}
