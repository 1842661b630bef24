//! Kill -9 between a change and its record, again and again, also just after the trail was rotated away: effects and records are the
//! same, in one order.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    effects::{Comparison, Load},
    server::{Server, within},
};

/// With `STRONGROOM_ALL=1` a hundred times as many.
const KILLS: usize = 5;
const CLIENTS: usize = 6;
const SOON: Duration = Duration::from_secs(20);
/// The trail is rotated before one in so many kills.
const ROTATED: usize = 3;
/// The longest time from the first change to the kill, and from a rotation to the kill.
const LOAD_MS: u64 = 250;
const ROTATION_MS: u64 = 8;

/// A random time, in milliseconds.
fn up_to(ms: u64) -> Duration {
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    Duration::from_micros(u64::from_le_bytes(random) % (1000 * ms))
}

#[test]
fn kills_leave_no_change_without_its_record_and_no_record_without_its_change() {
    let kills = if std::env::var_os("STRONGROOM_ALL").is_some() { 100 * KILLS } else { KILLS };
    let (mut server, began) = (Server::started(), Instant::now());
    let shared = server.new_key();
    let trail = server.data().join("audit.jsonl");
    let mut comparison = Comparison::of(server.data().join("strongroom.sqlite"), trail.clone());
    let (marks, refused) = (AtomicUsize::new(0), Mutex::default());
    let (mut rotations, mut acknowledged) = (0, 0);
    for kill in 1..=kills {
        let done = Mutex::<Vec<String>>::default();
        let mut rotated = None;
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let load = Load {
                    address: server.address(),
                    credentials: server.administrator(),
                    shared_key: &shared,
                    marks: &marks,
                    acknowledged: &done,
                    refused: &refused,
                };
                scope.spawn(move || load.go_on(&AtomicBool::new(false)));
            }
            assert!(within(SOON, || !done.lock().unwrap().is_empty()), "there is no load");
            // The moment of the kill is what this is about: it is any.
            thread::sleep(up_to(LOAD_MS));
            if kill % ROTATED == 0 {
                rotations += 1;
                let away = trail.with_extension(format!("jsonl.{rotations}"));
                comparison.rotate(&away);
                server.signal(rustix::process::Signal::HUP);
                thread::sleep(up_to(ROTATION_MS));
                rotated = Some(away);
            }
            server.kill();
        });
        server.start();
        if let Some(away) = rotated {
            comparison.read_rest_of(&away);
        }
        comparison.assert_same(&done.lock().unwrap());
        acknowledged += done.lock().unwrap().len();
    }
    assert_eq!(server.stop().code(), Some(0));
    let (records, torn) = comparison.counts();
    println!(
        "{kills} kills, {rotations} of them after a rotation: {acknowledged} changes acknowledged, {records} records of changes, \
         {torn} torn lines; no change without its record and no record without its change; {:.1?} in all",
        began.elapsed()
    );
    assert!(records > kills, "there was no load");
}
